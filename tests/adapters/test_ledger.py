"""The ledger of holdouts: looks are counted once a model, cannot be taken back, and follow shared rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.ledger import Holdout, Ledger, Look
from cd4ml.adapters.storage import FolderStorage, Storage
from cd4ml.domain.row_sketch import sketch
from cd4ml.errors import IntegrityError, NotFoundError
from tests.adapters.samples import at_once

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOG = "audit/000001.jsonl"


def holdout(
    first: int = 0, last: int = 100, problem: str = "shop", columns: tuple[str, ...] = ("day",)
) -> Holdout:
    rows = sketch(np.arange(first, last, dtype=np.uint64))
    identity = f"{first:032x}{last:032x}"
    return Holdout(identity, problem, last - first, last - first, "2026-01-01", "2026-01-30", columns, rows)


def look(model: str, problem: str = "shop") -> Look:
    return Look(model, NOON.isoformat(), "ann", problem, "5" * 64, "c" * 40, 20, 50)


@pytest.fixture
def store(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store")


def test_each_model_is_a_look_and_the_same_one_again_is_none(storage: Storage) -> None:
    ledger = Ledger(storage)
    assert ledger.look(holdout(), look("m1"), NOON) == (1, 0)
    assert ledger.look(holdout(), look("m2"), NOON) == (2, 0)
    assert ledger.look(holdout(), look("m1"), NOON) == (2, 0)
    assert list(ledger.looks(holdout().id)) == ["m1", "m2"]
    assert ledger.looks(holdout().id)["m1"] == look("m1")
    assert [line.kind for line in AuditLog(storage).lines()] == ["holdout_look"] * 2


def test_what_was_decided_is_told_with_the_look_and_once(storage: Storage) -> None:
    ledger = Ledger(storage)
    ledger.look(holdout(), look("m1"), NOON)
    bundle = "b" * 64
    assert ledger.decide(bundle, holdout().id, "m1", "reject", {"gates_fail": ["x"]}, NOON, "ann")
    assert not ledger.decide(bundle, holdout().id, "m1", "reject", {"gates_fail": ["x"]}, NOON, "ann")
    assert ledger.decide(bundle, holdout().id, "m1", "accept", {"gates_fail": []}, NOON, "ann")
    assert ledger.decide(bundle, holdout().id, "unseen", "accept", {}, NOON, "ann")
    seen = ledger.looks(holdout().id)["m1"]
    assert (seen.decision, seen.bundle) == ("accept", bundle)
    assert len(ledger.looks(holdout().id)) == 1


def test_looks_at_shared_rows_count_in_proportion_and_each_model_once(store: FolderStorage) -> None:
    ledger = Ledger(store)
    for number in range(4):
        ledger.look(holdout(0, 100), look(f"m{number}"), NOON)
    assert ledger.counts(holdout(25, 125)) == (0, 3.0)
    assert ledger.look(holdout(25, 125), look("m0"), NOON) == (1, 2.25)
    assert ledger.counts(holdout(50, 150)) == (0, pytest.approx(3 * 0.5 + 0.75))
    assert ledger.counts(holdout(200, 300)) == (0, 0)
    assert ledger.counts(holdout(25, 125, columns=("hour",)))[0] == 1
    assert ledger.counts(holdout(26, 126, columns=("hour",))) == (0, 0), "other columns say other things"


def test_a_window_that_slides_each_day_spends_the_budget_in_time(store: FolderStorage) -> None:
    ledger = Ledger(store)
    counts = [ledger.look(holdout(10 * day, 10 * day + 140), look(f"m{day}"), NOON) for day in range(30)]
    assert counts[0] == (1, 0)
    settled = 2 * sum(n / 14 for n in range(1, 14)) / 2
    assert counts[-1] == (1, pytest.approx(settled)), "it settles: old looks leave with their rows"


def test_a_look_cannot_be_taken_back(store: FolderStorage) -> None:
    ledger = Ledger(store)
    ledger.look(holdout(), look("m1"), NOON)
    ledger.look(holdout(), look("m2"), NOON)
    lines = store.get(LOG).splitlines(keepends=True)
    store.put(LOG, lines[0])
    with pytest.raises(IntegrityError, match="line 2, at the end, of the audit log was removed"):
        ledger.counts(holdout())
    store.put(LOG, lines[1])
    with pytest.raises(IntegrityError, match="line 1 of the audit log was removed"):
        ledger.counts(holdout())


def see(storage: Storage, model: str) -> None:
    Ledger(storage).look(holdout(), look(model), NOON)


def test_runs_at_once_are_both_counted(storage: Storage) -> None:
    at_once(storage, see, [("m1",), ("m2",), ("m2",)])
    assert Ledger(storage).counts(holdout()) == (2, 0)


def test_holdouts_are_listed_by_problem_and_found_by_the_beginning_of_their_id(storage: Storage) -> None:
    ledger = Ledger(storage)
    ledger.open(holdout(), NOON + timedelta(days=1))
    ledger.open(holdout(5, 9, "bike"), NOON)
    ledger.open(holdout(), NOON + timedelta(days=2))
    assert [one.problem for one in ledger.holdouts()] == ["bike", "shop"]
    assert [one.opened for one in ledger.holdouts("shop")] == ["2026-02-01T12:00:00+00:00"]
    found = ledger.get(holdout().id[:33])
    assert (found.rows, found.columns, found.sketch.rows) == (100, ("day",), 100)
    for wrong in ("", "0", "f"):
        with pytest.raises(NotFoundError, match="expected the beginning of one holdout's id"):
            ledger.get(wrong)


def test_a_fresh_holdout_is_told_in_the_log(store: FolderStorage) -> None:
    ledger = Ledger(store)
    ledger.refresh("old", holdout(), "a new quarter", NOON, "ann")
    (line,) = AuditLog(store).lines()
    assert (line.kind, line.subject) == ("holdout_refresh", holdout().id)
    assert line.facts == {"problem": "shop", "in_place_of": "old", "reason": "a new quarter"}


def test_a_description_that_was_damaged_is_refused(store: FolderStorage) -> None:
    ledger = Ledger(store)
    ledger.open(holdout(), NOON)
    (key,) = store.list("holdouts/")
    store.put(key, json.dumps({"id": "x", "sketch": {"rows": 1, "smallest": ["no number"]}}).encode())
    with pytest.raises(IntegrityError, match=r"'holdouts/x.json' is no holdout"):
        ledger.holdouts()
