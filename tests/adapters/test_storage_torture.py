"""Sixteen writers on one store, killed again and again: nothing that was told to be done is lost or damaged.

CD4ML_TORTURE_SECONDS says for how long, 60 by default.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cd4ml.adapters.storage import FolderStorage, Storage
from tests.adapters import torture
from tests.adapters.s3_server import new_bucket
from tests.adapters.samples import where

SECONDS = float(os.environ.get("CD4ML_TORTURE_SECONDS") or 60)
WRITERS = 16


class Crew:
    """The writers; each that is killed begins a new life at once."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.adapters.torture", "minio"])
        self._place, self._folder = where(storage), str(folder)
        self._lives = [0] * WRITERS
        self._writers: list[BaseProcess] = [self._born(number) for number in range(WRITERS)]
        self.kills = 0

    def _born(self, number: int) -> BaseProcess:
        life = self._lives[number]
        self._lives[number] += 1
        credentials = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        writer = self._context.Process(
            target=torture.work, args=(self._place, self._folder, number, life, credentials), daemon=True
        )
        writer.start()
        return writer

    def kill_one(self, number: int) -> None:
        writer = self._writers[number]
        assert writer.exitcode is None, f"writer {number} ended by itself with {writer.exitcode}"
        writer.kill()
        writer.join()
        self._writers[number] = self._born(number)
        self.kills += 1

    def stop(self) -> list[int | None]:
        (Path(self._folder) / torture.STOP).touch()
        for writer in self._writers:
            writer.join(120)
        return [writer.exitcode for writer in self._writers]

    def end(self) -> None:
        for writer in self._writers:
            writer.kill()
            writer.join()


@pytest.mark.s3
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.xdist_group("torture")
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_sixteen_writers_that_are_killed_lose_and_damage_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    storage: Storage = FolderStorage(tmp_path / "store")
    if kind == "s3":
        storage = new_bucket(request.getfixturevalue("real_endpoint"))
    dice, folder = random.Random(16), tmp_path / "crew"
    folder.mkdir()
    crew = Crew(storage, folder)
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.02, 0.4))
            crew.kill_one(dice.randrange(WRITERS))
        assert crew.stop() == [0] * WRITERS
    finally:
        crew.end()
    done = torture.check(storage, folder)
    with capsys.disabled():
        told = ", ".join(f"{count} {name}" for name, count in done.items())
        request.config.get_terminal_writer().line(
            f"\n{kind}: {SECONDS:g} s, {crew.kills} kills; done: {told}"
        )
    assert crew.kills >= SECONDS
    assert all(done.values()), done
