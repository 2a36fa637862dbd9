"""Whole runs of shipped problems, made once for all tests that look at them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loop.small_shop import command


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Return a function that runs a problem once and returns its folder and its store."""
    folder, done = tmp_path_factory.mktemp("real"), {}

    def run(problem: str, data: str) -> tuple[Path, Path]:
        if problem not in done:
            done[problem] = command(
                "run",
                problem,
                "--data",
                _source(data, folder),
                "--out",
                folder / problem,
                store=folder / "store",
            )
        rejected = problem == "adult-income"  # by its bias: see test_real_data
        assert done[problem].returncode == (3 if rejected else 0), done[problem].stdout + done[problem].stderr
        assert "Traceback" not in done[problem].stderr
        (folder / f"{problem}.txt").write_text(done[problem].stderr)
        return folder / problem, folder / "store"

    return run


def _source(data: str, folder: Path) -> Path:
    """Return the folder of real tables; of a simulated shop where the tables may not be passed on."""
    if data != "shop":
        return Path(os.environ["CD4ML_TEST_DATA"]) / data
    simulate = ("data", "simulate", "--rows", 60_000, "--days", 730, "--seed", 7, "--out", folder / "shop")
    made = command(*simulate, store=folder / "store")
    assert made.returncode == 0, made.stderr
    return folder / "shop"
