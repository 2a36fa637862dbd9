"""Folders of runs: held while at work, kept while read, removed when old."""

import os
import time

import pytest

from cd4ml.adapters.kubeflow import run_local
from cd4ml.adapters.kubeflow.folders import DONE, SCRATCH, held_run, run_folders
from tests.adapters.tiny_pipeline import compile_tiny

pytestmark = pytest.mark.xdist_group("kubeflow")


def make_old(folder, seconds=7200.0):
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_scratch_files_go_with_the_run_and_its_folder_stays(tmp_path):
    with held_run(tmp_path) as run:
        (run / SCRATCH / "file").touch()
    assert run.exists()
    assert not (run / SCRATCH).exists()


def test_old_runs_beyond_the_newest_are_removed(tmp_path):
    made = []
    for index in range(10):
        with held_run(tmp_path) as run:
            made.append(run)
        make_old(run, 7200.0 - index)
    with held_run(tmp_path) as last:
        pass
    assert sorted(run_folders(tmp_path / "runs")) == sorted([*made[3:], last])


def test_young_runs_stay_however_many_there_are(tmp_path):
    for _ in range(12):
        with held_run(tmp_path):
            pass
    assert len(run_folders(tmp_path / "runs")) == 12


def test_a_run_at_work_is_not_removed_however_old(tmp_path):
    with held_run(tmp_path) as long:
        for _ in range(9):
            with held_run(tmp_path):
                pass
        make_old(long)
        with held_run(tmp_path):
            pass
        assert long.exists()


def test_runs_are_removed_after_a_failure_too(tmp_path):
    for _ in range(9):
        with held_run(tmp_path) as run:
            pass
        make_old(run)
    with pytest.raises(KeyError), held_run(tmp_path):
        raise KeyError
    assert len(run_folders(tmp_path / "runs")) == 8


def test_what_a_run_reads_from_the_cache_keeps_its_folder(tmp_path):
    tiny = compile_tiny(tmp_path)
    arguments = {"what": "x", "names": ["a"]}
    first = run_local(tiny, arguments, tmp_path)
    for index in range(9):
        (tmp_path / "runs" / f"old-{index}").mkdir()
    for folder in (tmp_path / "runs").iterdir():
        make_old(folder)
    make_old(first.folder, 9000.0)  # the oldest of all
    second = run_local(tiny, arguments, tmp_path)
    assert sorted(task.name for task in second.tasks if task.cached) == ["judge", "plan", "search"]
    assert first.folder.exists()
    assert len(run_folders(tmp_path / "runs")) == 8
    assert not list(
        (second.folder / DONE).iterdir()
    )  # all that was cached is known in the first run's folder


def test_an_entry_that_was_cut_off_is_not_taken(tmp_path):
    tiny = compile_tiny(tmp_path)
    arguments = {"what": "x", "names": ["a"]}
    first = run_local(tiny, arguments, tmp_path)
    for entry in (first.folder / DONE).iterdir():
        entry.write_bytes(entry.read_bytes()[:40])
    second = run_local(tiny, arguments, tmp_path)
    assert not [task.name for task in second.tasks if task.cached]
    assert second.path("judge", "table").read_text() == "ax"
