import json
import math
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from cd4ml.models.rows import columns_from_rows, rows_from_columns
from cd4ml.serving.event_files import EventFile, finish_orphans, whole_files
from cd4ml.serving.events import EventLog, PredictionEvent
from cd4ml.serving.telemetry import EVENT_RESULTS, Telemetry
from tests.serving.limited_disk import ROWS

ROOT = Path(__file__).parents[2]
MANY = 1 << 30


def event(identity="a", inputs=({"store": 1},), outputs=None):
    outputs = outputs if outputs is not None else {"prediction": [1.5] * len(inputs)}
    return PredictionEvent(identity, "shop", "7", "stable", "v1", inputs, outputs, 1_500_000_000.25)


def lines(folder):
    return [json.loads(line) for file in whole_files(folder) for line in file.read_bytes().splitlines()]


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_a_line_tells_request_model_inputs_output_and_time(tmp_path):
    log = EventLog(tmp_path)
    assert log.append(event("r-1", [{"store": 1}, {"store": None}], {"prediction": [1.5, 2.5]}))
    assert log.close().written == 2
    common = {"id": "r-1", "model": "shop", "version": "7", "variant": "stable", "protocol": "v1"}
    common["time"] = "2017-07-14T02:40:00.250000Z"
    assert lines(tmp_path) == [
        common | {"row": 0, "inputs": {"store": 1}, "output": {"prediction": 1.5}},
        common | {"row": 1, "inputs": {"store": None}, "output": {"prediction": 2.5}},
    ]


def test_columns_and_arrays_of_numpy_are_written_as_rows(tmp_path):
    inputs = {"store": np.array([1, 2]), "day": np.array(["2017-08-16", "NaT"], "datetime64[D]")}
    outputs = {"prediction": np.array([0.5, 1.0], np.float32), "decision": np.array([0, 1])}
    log = EventLog(tmp_path)
    log.append(event(inputs=inputs, outputs=outputs))
    log.close()
    first = lines(tmp_path)[0]
    assert first["output"] == {"prediction": 0.5, "decision": 0}
    assert first["inputs"] == {"store": 1, "day": "2017-08-16"}


def test_checked_columns_are_written_as_the_rows_that_were_sent(tmp_path):
    field = {"kind": "integer", "nullable": True}
    properties = {"store": field, "day": field | {"kind": "date"}}
    contract = {"inputs": {"properties": properties}, "max_rows": 10}
    sent = [{"store": 1, "day": "2017-08-16"}, {"store": None, "day": None}]
    columns = columns_from_rows(contract, sent)
    log = EventLog(tmp_path)
    log.append(
        event(inputs=partial(rows_from_columns, contract, columns), outputs={"prediction": [1.0, 2.0]})
    )
    log.close()
    assert [line["inputs"] for line in lines(tmp_path)] == sent


def test_what_json_does_not_know_of_numbers_is_null(tmp_path):
    log = EventLog(tmp_path)
    log.append(
        event(inputs=[{"x": math.inf, "deep": [np.float32("nan")]}], outputs={"prediction": [math.nan]})
    )
    assert log.close().written == 1
    assert lines(tmp_path)[0]["output"] == {"prediction": None}
    assert lines(tmp_path)[0]["inputs"] == {"x": None, "deep": [None]}


def circular():
    row = {}
    row["self"] = row
    return row


@pytest.mark.parametrize(
    "bad",
    [
        event(inputs=[{"x": object()}]),
        event(inputs=[circular()]),
        event(inputs=[{}, {}], outputs={"prediction": [1.0]}),
        event(outputs={"prediction": 1.0}),
    ],
    ids=["object", "circular", "lengths", "no list"],
)
def test_an_event_that_cannot_be_written_is_counted_and_stops_nothing(tmp_path, bad):
    log = EventLog(tmp_path)
    log.append(bad)
    log.append(event("after"))
    counts = log.close()
    assert (counts.written, counts.dropped, counts.waiting) == (1, {"unencodable": 1}, 0)
    assert [line["id"] for line in lines(tmp_path)] == ["after"]


def test_a_full_queue_drops_and_counts_rows_and_does_not_wait(tmp_path):
    log = EventLog(tmp_path, most_waiting=10, flush_seconds=30.0)
    three = event(inputs=[{}] * 3)
    began = time.monotonic()
    taken = [log.append(three) for _ in range(1000)]
    assert time.monotonic() - began < 5.0
    assert taken == [True] * 3 + [False] * 997
    assert log.counts().dropped == {"full": 997 * 3}
    assert log.counts().waiting == 9
    assert log.close().written == 9


def test_threads_lose_no_event_and_double_none(tmp_path):
    log = EventLog(tmp_path, most_waiting=MANY, most_file_bytes=20_000, flush_seconds=0.001)

    def ask(thread):
        for number in range(200):
            log.append(event(f"{thread}-{number}"))

    threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.close().written == 1600
    found = lines(tmp_path)
    assert sorted(line["id"] for line in found) == sorted(f"{t}-{n}" for t in range(8) for n in range(200))
    for thread in range(8):
        own = [int(line["id"].split("-")[1]) for line in found if line["id"].startswith(f"{thread}-")]
        assert all(a < b for a, b in pairwise(own))


def test_a_full_file_becomes_whole_and_the_next_one_begins(tmp_path):
    log = EventLog(tmp_path, most_file_bytes=1000, flush_seconds=0.001)
    for number in range(20):
        log.append(event(str(number)))
        until(lambda: log.counts().waiting == 0)
    assert len(whole_files(tmp_path)) >= 2
    log.close()
    assert [line["id"] for line in lines(tmp_path)] == [str(number) for number in range(20)]
    assert all(file.read_bytes().endswith(b"\n") for file in whole_files(tmp_path))
    assert {file.suffix for file in tmp_path.iterdir()} == {".jsonl"}


def test_an_old_file_becomes_whole_without_another_event(tmp_path):
    log = EventLog(tmp_path, most_file_seconds=0.05, flush_seconds=0.01)
    log.append(event())
    until(lambda: len(whole_files(tmp_path)) == 1)
    assert lines(tmp_path)[0]["id"] == "a"
    log.close()


def test_after_its_close_a_log_drops(tmp_path):
    log = EventLog(tmp_path)
    log.append(event())
    log.close()
    assert not log.append(event())
    assert log.close().dropped == {"closed": 1}
    assert len(lines(tmp_path)) == 1


def test_a_log_that_nobody_used_makes_nothing(tmp_path):
    assert EventLog(tmp_path / "events").close().written == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_events_only_until_it_can(tmp_path):
    folder = tmp_path / "events"
    folder.write_text("in the way")
    log = EventLog(folder, flush_seconds=0.005)
    assert log.append(event("lost"))
    until(lambda: log.counts().waiting == 0)
    assert log.counts().dropped == {"unwritable": 1}
    assert "FileExistsError" in log.counts().last_error
    folder.unlink()
    log.append(event("kept"))
    assert log.close().written == 1
    assert [line["id"] for line in lines(folder)] == ["kept"]


def test_a_file_that_cannot_grow_loses_that_batch_and_keeps_whole_lines(tmp_path):
    command = [sys.executable, "-m", "tests.serving.limited_disk", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    counts = json.loads(run.stdout)
    assert counts["dropped"] == {"unwritable": ROWS}
    assert counts["written"] == 2
    assert [line["id"] for line in lines(tmp_path)] == ["small", "small"]


def test_a_folder_that_is_full_takes_no_more_until_files_are_taken_away(tmp_path):
    log = EventLog(tmp_path, most_file_bytes=1, most_folder_bytes=100, flush_seconds=0.005)
    for identity in ("kept", "lost"):
        log.append(event(identity))
        until(lambda: log.counts().waiting == 0)
    assert log.counts().dropped == {"no_space": 1}
    for file in whole_files(tmp_path):
        file.unlink()
    log.append(event("later"))
    assert log.close().written == 2
    assert [line["id"] for line in lines(tmp_path)] == ["later"]


def test_each_result_is_told_to_the_counter_by_a_name_that_telemetry_has(tmp_path):
    registry = CollectorRegistry()
    telemetry = Telemetry("shop", "7", "stable", registry)
    log = EventLog(tmp_path, most_waiting=2, count=telemetry.count_events)
    log.append(event(inputs=[{}] * 3))
    log.append(event(inputs=[{}] * 2))
    log.close()
    log.append(event())
    labels = {"model": "shop", "version": "7", "variant": "stable"}
    found = {
        r: registry.get_sample_value("cd4ml_events_total", labels | {"result": r}) for r in EVENT_RESULTS
    }
    assert found == dict.fromkeys(EVENT_RESULTS, 0) | {"full": 3, "written": 2, "closed": 1}


def failing(result, number):
    raise RuntimeError("no counter")


def test_a_counter_that_fails_fails_neither_request_nor_writer(tmp_path):
    log = EventLog(tmp_path, most_waiting=1, count=failing)
    assert log.append(event("a"))
    assert not log.append(event(inputs=[{}] * 2))
    assert log.close().written == 1
    assert "no counter" in log.counts().last_error


def write_some(log, worker):
    for number in range(50):
        log.append(event(f"{worker}-{number}"))
    log.close()


def test_spawned_workers_share_a_folder(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    log = EventLog(tmp_path)
    workers = [spawn.Process(target=write_some, args=(log, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(line["id"] for line in lines(tmp_path)) == sorted(
        f"{w}-{n}" for w in range(2) for n in range(50)
    )
    assert len(whole_files(tmp_path)) == 2


def test_a_pickled_log_is_an_empty_one_with_the_same_settings(tmp_path):
    log = EventLog(tmp_path, most_waiting=1, count=failing)
    again = pickle.loads(pickle.dumps(log))
    assert again.path == tmp_path
    assert not again.append(event(inputs=[{}] * 2))


def test_what_a_killed_process_wrote_is_kept_up_to_its_last_whole_line(tmp_path):
    writer = subprocess.Popen([sys.executable, "-m", "tests.serving.killed_writer", str(tmp_path)], cwd=ROOT)
    try:
        until(lambda: any(file.stat().st_size > 5000 for file in tmp_path.glob("*.open")))
        assert finish_orphans(tmp_path) == 0  # it lives
    finally:
        writer.kill()
        writer.wait()
    (orphan,) = tmp_path.glob("*.open")
    with orphan.open("ab") as file:
        file.write(b'{"id": "half a li')
    log = EventLog(tmp_path)
    log.append(event("next"))
    log.close()
    found = [line["id"] for line in lines(tmp_path)]
    assert found[-1] == "next"
    assert found[:-1] == [f"killed-{number}" for number in range(len(found) - 1)]
    assert not list(tmp_path.glob("*.open"))


def test_an_orphan_without_a_whole_line_goes_away(tmp_path):
    (tmp_path / "events-1.open").write_bytes(b"x" * 200_000)
    assert finish_orphans(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_long_broken_end_is_cut_off(tmp_path):
    (tmp_path / "events-1.open").write_bytes(b'{"id": "a"}\n' + b"x" * 200_000)
    finish_orphans(tmp_path)
    (file,) = whole_files(tmp_path)
    assert file.read_bytes() == b'{"id": "a"}\n'


def test_a_file_that_is_being_begun_is_never_taken_for_an_orphan(tmp_path):
    done = threading.Event()

    def look():
        while not done.is_set():
            finish_orphans(tmp_path)

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(2000):
            file = EventFile(tmp_path, MANY)
            assert file.path.exists()
            file.finish()
    finally:
        done.set()
        for thread in looking:
            thread.join()


def test_an_event_that_was_not_closed_is_written_at_the_end_of_the_process(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from cd4ml.serving.events import EventLog, PredictionEvent as E\n"
        "EventLog(Path(sys.argv[1]), flush_seconds=60).append(E('a', 'm', '1', 's', 'v1', [{}], {'p': [1]}))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60, cwd=ROOT)
    assert [line["id"] for line in lines(tmp_path)] == ["a"]


def test_much_at_once_is_written_in_parts_and_in_order(tmp_path):
    log = EventLog(tmp_path, most_waiting=MANY, most_file_bytes=1 << 20, flush_seconds=30.0)
    for number in range(5):
        log.append(event(str(number), inputs=[{"x": "y" * 1000}] * 1000))
    assert log.close().written == 5000
    found = [(int(line["id"]), line["row"]) for line in lines(tmp_path)]
    assert found == [(number, row) for number in range(5) for row in range(1000)]
    assert len(whole_files(tmp_path)) == 5


def test_a_file_that_was_taken_away_while_open_stops_nothing(tmp_path):
    log = EventLog(tmp_path, most_file_seconds=0.3, flush_seconds=0.01)
    log.append(event("lost"))
    until(lambda: log.counts().waiting == 0)
    for file in tmp_path.iterdir():
        file.unlink()
    until(lambda: log.counts().last_error)
    log.append(event("kept"))
    log.close()
    assert [line["id"] for line in lines(tmp_path)] == ["kept"]
