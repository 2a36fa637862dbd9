"""From commit to champion, read off a real store: registry, runs, audit log and rollouts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.approvals import Approvals
from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.git import commit_time
from cd4ml.adapters.ledger import Holdout, Ledger, Look
from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.runs import RunStore, new_run_id
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from cd4ml.delivery.champion import RegistryChampion
from cd4ml.domain.approval import Decided
from cd4ml.domain.cycle_time import Journey
from cd4ml.domain.rollout.decide import Command, command
from cd4ml.domain.rollout.state import Entry, Phase, Rollout, Target
from cd4ml.domain.row_sketch import RowSketch
from cd4ml.problem import Rollout as Policy
from cd4ml.steps.cycle_time import journeys
from tests.adapters.s3_server import environment

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOLDOUT = Holdout("h" * 8, "shop", 10, 10, "a", "b", ("x",), RowSketch(10, np.arange(3, dtype=np.uint64)))


class World:
    """A store, a repository, and a clock that only goes where it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.storage = folder, FolderStorage(folder / "store")
        self.repository = folder / "repository"
        self.now = BEGIN
        self.registry = Registry(self.storage, clock=lambda: self.now)
        self.champion = RegistryChampion(self.registry)
        self.audit, self.runs = AuditLog(self.storage), RunStore(self.storage)

    def after(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now

    def commit(self, text: str) -> str:
        self.repository.mkdir(exist_ok=True)
        (self.repository / "code.py").write_text(text)
        who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
        when = {"GIT_COMMITTER_EMAIL": "a@b", "GIT_COMMITTER_DATE": self.now.isoformat()}
        for arguments in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", text]):
            subprocess.run(
                ["git", "-C", str(self.repository), *arguments],
                check=True,
                env={**os.environ, **who, **when, "GIT_CONFIG_GLOBAL": os.devnull},
            )
        found = subprocess.run(
            ["git", "-C", str(self.repository), "rev-parse", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
        )
        return found.stdout.strip()

    def train(self, commit: str, name: str) -> ModelVersion:
        """Start a run, train for an hour, judge for ten minutes, register after one more."""
        started = self.now
        folder = self.folder / name
        folder.mkdir()
        (folder / "model.txt").write_text(name)
        (folder / "lineage.json").write_text(json.dumps({"git": {"commit": commit, "branch": "main"}}))
        bundle = write_manifest(folder)
        ledger = Ledger(self.storage)
        look = Look(name, self.after(hours=1).isoformat(), "ci", "shop", "s", commit)
        ledger.look(HOLDOUT, look, self.now)
        ledger.decide(bundle, HOLDOUT.id, name, "accept", {}, self.after(minutes=10), "ci")
        self.after(minutes=1)
        version = self.registry.push(folder, "shop", verdict="accept")
        self.runs.save(
            {
                "id": new_run_id(started),
                "bundle": bundle,
                "started": started.isoformat(timespec="seconds"),
                "git": {"commit": commit, "branch": "main", "dirty": False},
            }
        )
        return version

    def approve(self, version: ModelVersion) -> None:
        until = self.now + timedelta(days=30)
        decided = Decided(version.bundle, "shop", "approve", "ann", "seen", self.now, until)
        Approvals(self.storage).decide(decided)

    def roll_out(self, stable: ModelVersion, candidate: ModelVersion, last: Phase = Phase.PROMOTED) -> None:
        """Half an hour in each phase, by a person's word; the champion follows as in a controller."""
        store, policy = RolloutStore(self.storage), Policy(canary_percent=[50])
        old, new = (
            Target(f"shop@{one.version}", str(one.version), one.bundle) for one in (stable, candidate)
        )
        first = Entry(self.now.timestamp(), Phase.VERIFY, 0.0, "controller", ())
        stored = store.start(
            Rollout(
                f"r-{candidate.version}", "web", new, old, phase=Phase.SHADOW, history=(first,), model="shop"
            ),
            {},
        )
        rollout = stored.rollout
        at = self.after(minutes=30).timestamp()
        rollout = command(rollout, Command.PAUSE, "ann", "look", at, policy)
        rollout = command(rollout, Command.RESUME, "ann", "", at, policy)
        for _ in range(2):
            rollout = command(
                rollout, Command.SKIP, "ann", "go on", self.after(minutes=30).timestamp(), policy
            )
        if last is Phase.ROLLED_BACK:
            rollout = command(rollout, Command.ROLL_BACK, "ann", "bad", self.now.timestamp(), policy)
        else:
            self.champion.follow(rollout, 1)
            rollout = command(
                rollout, Command.PROMOTE, "ann", "good", self.after(hours=5).timestamp(), policy
            )
        store.save(stored, rollout)

    def found(self, model: str = "") -> list[Journey]:
        return journeys(self.storage, model, self.repository)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    with environment(CD4ML_STORE=str(found.storage.root)):
        yield found


def minutes(found: Journey) -> dict[str, float]:
    return {one.name: one.seconds / 60 for one in found.stages if one.seconds is not None}


def test_a_change_is_followed_through_every_stage(world: World) -> None:
    first = world.train(world.commit("first"), "one")
    world.registry.set_alias("shop", "champion", first.version)
    commit = world.commit("second")
    world.after(minutes=5)
    second = world.train(commit, "two")
    world.after(minutes=20)
    world.approve(second)
    world.after(minutes=2)
    world.roll_out(first, second)
    one, two = world.found()
    assert (two.model, two.version, two.commit, two.dirty) == ("shop", "2", commit, False)
    assert two.missing == two.backwards == ()
    assert minutes(two) == {
        "started": 5, "trained": 60, "judged": 10, "registered": 1, "approved": 20,
        "rollout": 2, "shadow": 30, "canary": 30, "champion": 30,
    }  # fmt: skip
    assert two.total.seconds == 60 * (5 + 60 + 10 + 1 + 20 + 2 + 90)
    assert one.missing == ("approved", "rollout", "shadow", "canary")
    assert minutes(one)["champion"] == 0
    assert one.stages[-1].since == "registered"


def test_what_was_taken_back_has_no_champion_and_a_version_without_a_run_no_start(world: World) -> None:
    first = world.train("f" * 40, "one")
    world.registry.set_alias("shop", "champion", first.version)
    second = world.train("f" * 40, "two")
    for key in world.storage.list("runs/"):
        world.storage.delete(key)
    world.roll_out(first, second, Phase.ROLLED_BACK)
    two = world.found("shop")[1]
    assert two.missing == ("commit", "started", "approved", "champion")
    assert two.total.seconds is None
    assert {"shadow", "canary"} <= minutes(two).keys()


def test_a_commit_of_a_clock_ahead_is_told(world: World, capsys: Any) -> None:
    world.now += timedelta(hours=3)
    commit = world.commit("from the future")
    world.now = BEGIN
    world.train(commit, "one")
    (one,) = world.found()
    assert one.backwards == ("started",)
    assert one.stages[1].backwards_seconds == 3 * 3600
    assert main(["runs", "cycle-time", "--repository", str(world.repository)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "-3 h!" in shown[1].split("  ")[2] or "-3 h!" in shown[1]
    assert next(line for line in shown if line.startswith("started")).split() == [
        "started",
        "0",
        "0",
        "1",
        "-",
        "-",
    ]


def test_the_time_that_the_run_wrote_down_is_enough_without_a_repository(world: World) -> None:
    version = world.train("f" * 40, "one")
    run = world.runs.list()[0]
    committed = (BEGIN - timedelta(hours=2)).isoformat()
    world.runs.save({**run, "git": {**run["git"], "commit": "f" * 40, "committed": committed, "dirty": True}})
    (one,) = world.found()
    assert minutes(one)["started"] == 120
    assert not one.dirty, "the version's own record says that nothing was changed"
    assert one.bundle == version.bundle


def test_json_table_and_page_say_the_same(world: World, tmp_path: Path, capsys: Any) -> None:
    previous = world.train(world.commit("0"), "v0")
    world.registry.set_alias("shop", "champion", previous.version)
    for number in range(1, 5):
        commit = world.commit(str(number))
        world.after(minutes=10 * number)
        version = world.train(commit, f"v{number}")
        world.roll_out(previous, version)
        previous = version
    page = tmp_path / "page.html"
    command = ["runs", "cycle-time", "--model", "shop", "--repository", str(world.repository)]
    assert main([*command, "--html", str(page), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [one["version"] for one in value["versions"]] == ["1", "2", "3", "4", "5"]
    stages = {one["name"]: one for one in value["stages"]}
    assert (stages["started"]["median_seconds"], stages["approved"]["known"]) == (1200, 0)
    assert stages["approved"]["median_seconds"] is None
    assert value["trend"]["versions"] == 5 and value["trend"]["seconds_per_day"] > 0
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "each day it changes by" in shown and "20 min" in shown
    text = page.read_text()
    assert "From commit to champion" in text and "shop@5" in text and "20 min" in text and "<svg" in text
    assert main([*command, "--limit", "1", "--json"]) == 0
    assert [one["version"] for one in json.loads(capsys.readouterr().out)["versions"]] == ["5"]


def test_a_store_without_models_or_a_log_that_was_altered_says_so(world: World, capsys: Any) -> None:
    assert main(["runs", "cycle-time"]) == 2
    world.train("f" * 40, "one")
    assert main(["runs", "cycle-time", "--model", "shup"]) == 2
    assert "did you mean 'shop'" in capsys.readouterr().err
    assert main(["runs", "cycle-time", "--html", str(world.folder)]) == 2
    key = next(key for key in world.storage.list("audit/") if key.endswith(".jsonl"))
    world.storage.put(key, world.storage.get(key).replace(b'"accept"', b'"reject"'))
    assert main(["runs", "cycle-time"]) == 4


def test_only_a_commit_has_a_time(world: World) -> None:
    commit = world.commit("first")
    assert datetime.fromisoformat(commit_time(world.repository, commit)) == BEGIN
    assert commit_time(world.repository, "0" * 40) == ""
    assert commit_time(world.repository, "--output=x") == ""
    assert commit_time(world.folder, commit) == ""
