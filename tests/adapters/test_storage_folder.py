"""What only a store in a folder has: locks, leftovers, rights."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cd4ml.adapters.storage import FolderStorage, atomic
from cd4ml.adapters.storage.documents import encode
from cd4ml.errors import MetricError, ServiceError, UsageError

KILLED_WRITER = """
import sys, os, signal
from pathlib import Path
from cd4ml.adapters.storage import FolderStorage, atomic
class Killer:
    def __init__(self, file): self.file = file
store = FolderStorage(sys.argv[1])
with store._writing("k") as path, atomic.stream(path) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_content_and_no_lock(tmp_path: Path) -> None:
    store = FolderStorage(tmp_path, lock_timeout_seconds=1)
    store.put("k", b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.get("k") == b"old"
    assert store.list("") == ["k"]
    assert [path.name for path in tmp_path.glob(".incomplete-*")], "the writer was killed too late"
    store.put("k", b"new")
    assert store.get("k") == b"new"


def test_leftovers_go_when_they_are_older_than_a_day_and_not_before(tmp_path: Path) -> None:
    store = FolderStorage(tmp_path)
    store.put("a/k", b"1")
    young, old, folder = (tmp_path / "a" / f".incomplete-{name}" for name in ("young", "old", "folder"))
    young.write_bytes(b"")
    old.write_bytes(b"")
    folder.mkdir()
    (folder / "x").write_bytes(b"")
    past = time.time() - 25 * 3600
    for path in (old, folder):
        os.utime(path, (past, past))
    assert store.list("") == ["a/k"]
    assert young.exists()
    assert not old.exists()
    assert not folder.exists()


def test_a_lock_that_is_never_released_is_an_error_within_the_timeout(tmp_path: Path) -> None:
    store = FolderStorage(tmp_path, lock_timeout_seconds=0.1)
    store.put("k", b"1")
    (lock,) = (tmp_path / ".locks").iterdir()
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match=r"held the lock .* for 0\.1 s"):
            store.put("k", b"2")
    assert store.get("k") == b"1"


def test_a_key_beneath_another_key_is_refused_by_name(tmp_path: Path) -> None:
    store = FolderStorage(tmp_path)
    store.put("a", b"1")
    with pytest.raises(UsageError, match="already a file or a folder"):
        store.put("a/b", b"2")
    store.put("d/e", b"1")
    with pytest.raises(UsageError, match="already a file or a folder"):
        store.put("d", b"2")
    assert store.read_versioned("a/b") is None
    assert store.list("") == ["a", "d/e"]


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        FolderStorage(tmp_path / "f")


def test_a_store_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ServiceError, match="symbolic links"):
        FolderStorage(tmp_path / "loop").put("k", b"")
    with pytest.raises(ServiceError, match="symbolic links"):
        FolderStorage(tmp_path / "loop").get("k")


def test_a_block_that_fails_leaves_no_file_and_the_folder_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.stream(tmp_path / "f") as file:
        file.write(b"half")
        raise RuntimeError
    atomic.write_text(tmp_path / "d/old", "old")
    with pytest.raises(RuntimeError), atomic.directory(tmp_path / "d") as new:
        (new / "half").write_text("half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d", "old"]


def test_a_directory_replaces_the_one_before_it_whole(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "d/old.json", {"b": 1, "a": None})
    assert (tmp_path / "d/old.json").read_text() == '{\n  "a": null,\n  "b": 1\n}\n'
    with atomic.directory(tmp_path / "d") as new:
        (new / "new").write_text("new")
        assert (tmp_path / "d/old.json").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["d", "new"]


def test_a_folder_that_cannot_be_read_does_not_look_empty(tmp_path: Path) -> None:
    store = FolderStorage(tmp_path)
    store.put("a/k", b"1")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ServiceError, match=r"cannot be used \(Too many levels of symbolic links at '.*loop'"):
        store.list("loop/")
    (tmp_path / "a" / "k").unlink()
    assert store.list("a/") == []
    assert store.list("nowhere/at/all") == []


def test_a_large_upload_keeps_no_other_writer_waiting(tmp_path: Path) -> None:
    """The lock is taken for the rename alone: while it is held elsewhere, the copy is made and waits."""
    store = FolderStorage(tmp_path / "store", lock_timeout_seconds=0.2)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/f").write_bytes(b"1" * 1000)
    store.upload(tmp_path / "in", "d")
    (tmp_path / "in/f").write_bytes(b"2" * 1000)
    (lock,) = (tmp_path / "store/.locks").iterdir()
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match="held the lock"):
            store.upload(tmp_path / "in", "d")
    assert store.get("d/f") == b"1" * 1000
    assert store.list("") == ["d/f"]


def test_a_directory_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "d/old", "old")
    with pytest.raises(FileNotFoundError):
        atomic._take_place(tmp_path / "gone", tmp_path / "d")
    assert [path.name for path in tmp_path.rglob("*")] == ["d", "old"]


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        ({"wape": float("nan")}, MetricError, "finite numbers only"),
        ({"path": Path("x")}, UsageError, "a record must be JSON"),
    ],
)
def test_a_document_that_is_no_json_is_refused(value: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        encode(value)
