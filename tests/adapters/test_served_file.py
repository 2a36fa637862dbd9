import json
import os
import subprocess
import sys
import threading

import pytest

from cd4ml.adapters.served_file import Desired, Report, ServedFile
from cd4ml.errors import Cd4mlError, IntegrityError, NotFoundError

GOOD = {"bundle": "/b", "version": "7", "history": "", "generation": 1}


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def served(tmp_path):
    return ServedFile(tmp_path / "server" / "served.json")


def test_what_was_written_is_read(served):
    desired = Desired("/bundles/a", "7", "/histories/b", 3)
    served.write(desired)
    assert served.read() == desired


def test_a_missing_file_is_told_in_one_line(served):
    with pytest.raises(NotFoundError, match=r"served\.json") as found:
        served.read()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "something else"),
        ("[" * 100_000, "something else"),
        ("[]", "list"),
        (json.dumps({"bundle": "/b", "version": "7"}), "generation"),
        (json.dumps(GOOD | {"surplus": 1}), "surplus"),
        (json.dumps(GOOD | {"version": 7}), "'version' is int"),
        (json.dumps(GOOD | {"generation": True}), "'generation' is bool"),
        (json.dumps(GOOD | {"generation": -1}), "0 or more"),
        (json.dumps(GOOD | {"bundle": "b"}), "absolute"),
        (json.dumps(GOOD | {"bundle": ""}), "absolute"),
        (json.dumps(GOOD | {"history": "h"}), "'history'"),
        ("\ufeff", "something else"),
    ],
    ids=range(12),
)
def test_a_malformed_file_is_refused_in_one_line_that_names_it(served, text, named):
    served.path.parent.mkdir()
    served.path.write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=named) as found:
        served.read()
    assert "served.json" in str(found.value)
    assert "\n" not in str(found.value)


def test_bytes_that_are_no_text_are_refused(served):
    served.path.parent.mkdir()
    served.path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntegrityError):
        served.read()


def test_a_folder_in_its_place_is_refused(served):
    served.path.mkdir(parents=True)
    with pytest.raises(IntegrityError, match="cannot be read"):
        served.read()


def test_nothing_is_written_that_could_not_be_read(served):
    served.write(Desired("/good", "1"))
    with pytest.raises(Cd4mlError, match="absolute"):
        served.write(Desired("relative", "2"))
    assert served.read().bundle == "/good"


def test_a_reader_sees_one_state_or_another_and_never_a_part(served):
    long = "/" + "x" * 20_000
    served.write(Desired("/short", "0"))
    seen, done = set(), threading.Event()

    def look():
        while not done.is_set():
            seen.add((len((found := served.read()).bundle), found.version))

    reader = threading.Thread(target=look)
    reader.start()
    for generation in range(50):
        served.write(Desired(long if generation % 2 else "/short", str(generation % 2)))
    done.set()
    reader.join()
    assert seen <= {(len("/short"), "0"), (len(long), "1")}


def test_reports_are_those_of_live_processes(served):
    own = Report(os.getpid(), 2, "7", "ab" * 32)
    served.report(own)
    served.report(Report(ended_process(), 1, "6", "cd" * 32))
    assert served.reports() == [own]


def test_a_process_that_ended_unnoticed_by_its_parent_does_not_live(served):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    process.stdout.read()  # its end: it is not waited for yet
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT) is None:
        pass
    served.report(Report(process.pid, 1, "6", "cd" * 32))
    assert served.reports() == []
    process.wait()


def test_a_new_report_takes_the_place_of_the_old(served):
    for error in ("it was altered", ""):
        served.report(Report(os.getpid(), 2, "7", "ab" * 32, error))
    assert [report.error for report in served.reports()] == [""]


def test_a_forgotten_report_is_gone_and_forgetting_twice_is_no_error(served):
    served.report(Report(os.getpid(), 2, "7", "ab" * 32))
    served.forget(os.getpid())
    served.forget(os.getpid())
    assert served.reports() == []


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"pid": 0})])
def test_what_is_no_report_is_passed_over(served, text):
    served.report(Report(os.getpid(), 2, "7", "ab" * 32))
    folder = served.path.with_name("served.json.workers")
    (folder / "1.json").write_text(text)
    (folder / "0.json").write_text(json.dumps(vars(Report(0, 1, "1", "a"))))
    (folder / "999.json").write_text(json.dumps(vars(Report(os.getpid(), 1, "1", "a"))))
    assert [report.pid for report in served.reports()] == [os.getpid()]
