"""What a command prints, and where."""

import json
import os
import subprocess
import sys

from cd4ml.cli.console import emit, note

PROGRAM = "from cd4ml.cli.console import emit, note; note('▁ noted'); emit({'a': '▁'}, False, ['▁█'] * %d)"


def run(count, encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-c", PROGRAM % count], capture_output=True, env=env, check=False)


def test_json_is_sorted_and_is_all_that_stdout_has(capsys):
    emit({"b": 1, "a": [None, "é"]}, True, ["never"])
    note("a remark")
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"a": [None, "é"], "b": 1}
    assert shown.out.index('"a"') < shown.out.index('"b"')
    assert shown.err == "a remark\n"


def test_lines_go_to_stdout(capsys):
    emit({"a": 1}, False, (line for line in ("one", "two")))
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_what_the_terminal_cannot_show_becomes_a_question_mark():
    done = run(1, "ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"??\n", b"? noted\n")
    assert run(1, "utf-8").stdout.decode() == "▁█\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-c", PROGRAM % 100_000]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
    assert (process.returncode, said) == (0, "▁ noted\n")
