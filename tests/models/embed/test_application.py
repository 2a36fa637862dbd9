"""`python -m PACKAGE`: JSON lines in, JSON lines out."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from cd4ml.models.embed.application import answer
from cd4ml.models.embed.embedded import Embedded
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.bundles import bundle


@pytest.fixture
def run(site):
    def start(*arguments, package="people_who_stay", **more):
        environment = {**os.environ, "PYTHONPATH": str(site)}
        command = [sys.executable, "-B", "-m", package, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, cwd=site, **pipes, **more)

    return start


def test_a_row_in_a_pipe_is_answered_before_the_next_comes(run):
    rows, expected = holdout_rows(bundle("shop"))[:3], np.load(bundle("shop") / "holdout" / "prediction.npy")
    with run(package="corner_shop") as process:
        for row, judged in zip(rows, expected, strict=False):
            process.stdin.write(json.dumps(row).encode() + b"\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
            assert list(found) == ["prediction", "quantile"]
            assert abs(found["prediction"] - judged) <= 1e-5 * max(1, abs(judged))
        process.stdin.close()
        assert process.wait(10) == 0


def test_refused_lines_are_answered_in_their_place_and_told_by_the_exit_code(run):
    row = holdout_rows(bundle("people"))[0]
    lines = [
        json.dumps(row),
        "nonsense",
        "",
        json.dumps({**row, "age": -1}),
        "[1]",
        "[" * 100_000,
        json.dumps(row),
    ]
    with run() as process:
        out, err = process.communicate("\n".join(lines).encode(), timeout=20)
    found = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 4
    assert err == b""
    assert found[0] == found[5]
    assert "prediction" in found[0]
    assert found[1] == found[4] == {"error": "expected a line of JSON", "field": ""}
    assert found[2]["field"] == "age"
    assert found[2]["error"] == "field 'age' must be a whole number from 0 up to 120; found -1"
    assert found[3]["error"] == "expected an object with fields; found [1]"


def test_contract_version_and_verify_are_told(run):
    identity = Bundle.load(bundle("people")).id
    told = {}
    for option in ("--contract", "--verify", "--version"):
        with run(option) as process:
            told[option] = process.communicate(timeout=20)[0].decode()
        assert process.returncode == 0
    assert json.loads(told["--contract"])["problem"] == "people"
    assert json.loads(told["--verify"])["largest_difference"] == 0
    assert told["--version"] == f"0+{identity[:12]} (bundle {identity})\n"


def test_many_lines_come_back_in_their_order_and_quickly():
    found = Embedded(bundle("people"), Bundle.load(bundle("people")).id, "1")
    rows = holdout_rows(bundle("people"))
    lines = [json.dumps(row).encode() for row in rows] * 20
    start = time.perf_counter()
    made = [item["prediction"] for item in answer(found, lines)]
    assert time.perf_counter() - start < 5
    assert made == found.predict(rows * 20).tolist()
