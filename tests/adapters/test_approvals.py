"""Decisions in a store: for one bundle, until their end, by whom they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cd4ml.adapters.approvals import APPROVAL, Approvals
from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import FolderStorage, Storage
from cd4ml.domain.approval import Decided
from cd4ml.errors import IntegrityError, UsageError
from cd4ml.problem import Approval
from tests.adapters.s3_server import environment
from tests.adapters.samples import at_once

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BUNDLE, OTHER = "a" * 64, "b" * 64
POLICY = Approval(valid_days=30, remind_days=3)
PRIVATE, PUBLIC = generate_keypair()
OTHER_PRIVATE, OTHER_PUBLIC = generate_keypair()
LOG = "audit/000001.jsonl"


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


@pytest.fixture
def store(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store")


def decided(choice: str = "approve", bundle: str = BUNDLE, by: str = "ann") -> Decided:
    return Decided(bundle, "shop", choice, by, "looked at it", NOON, NOON + timedelta(days=30))


def state(storage: Storage, bundle: str = BUNDLE, days: float = 1) -> str:
    return Approvals(storage).standing(bundle, NOON + timedelta(days=days), POLICY).state


def test_a_decision_stands_for_its_bundle_alone_and_until_it_expires(storage: Storage) -> None:
    assert state(storage) == "pending"
    line = Approvals(storage).decide(decided())
    assert (line.kind, line.subject, line.by, line.number) == (APPROVAL, BUNDLE, "ann", 1)
    assert (state(storage), state(storage, OTHER), state(storage, days=31)) == (
        "approved",
        "pending",
        "expired",
    )
    Approvals(storage).decide(decided("reject", by="bob"))
    assert state(storage) == "rejected"
    assert [record.by for record in Approvals(storage).records(BUNDLE)] == ["ann", "bob"]


def test_an_approval_that_is_replayed_for_another_bundle_is_refused(store: FolderStorage) -> None:
    AuditLog(store).append(APPROVAL, OTHER, decided().to_dict(), NOON, "mallory")
    with pytest.raises(IntegrityError, match="is on the bundle aaaaaaaaaaaa and not on bbbbbbbbbbbb"):
        state(store, OTHER)


def test_a_copy_of_an_approval_with_another_bundle_in_it_is_an_altered_line(store: FolderStorage) -> None:
    Approvals(store).decide(decided())
    data = store.get(LOG)
    store.put(LOG, data + data.replace(BUNDLE.encode(), OTHER.encode()))
    with pytest.raises(IntegrityError, match="line 2 of the audit log was altered"):
        state(store, OTHER)


def test_an_approval_that_was_altered_is_refused(store: FolderStorage) -> None:
    Approvals(store).decide(decided("reject"))
    store.put(LOG, store.get(LOG).replace(b'"choice":"reject"', b'"choice":"approve"'))
    with pytest.raises(IntegrityError, match="line 1 of the audit log was altered"):
        state(store)


def test_a_rejection_that_was_removed_is_missed(store: FolderStorage) -> None:
    approvals = Approvals(store)
    approvals.decide(decided())
    approvals.decide(decided("reject"))
    store.put(LOG, store.get(LOG).splitlines(keepends=True)[0])
    with pytest.raises(IntegrityError, match="line 2, at the end, of the audit log was removed"):
        state(store)


def test_where_keys_are_set_only_our_signature_counts(store: FolderStorage) -> None:
    Approvals(store).decide(decided())
    with environment(**{VERIFY_KEY: PUBLIC}):
        with pytest.raises(IntegrityError, match="line 1 of the audit log is unsigned, and CD4ML_VERIFY_KEY"):
            state(store)
        with pytest.raises(UsageError, match="an unsigned decision would not count"):
            Approvals(store).decide(decided())
        with environment(**{SIGNING_KEY: OTHER_PRIVATE}):
            Approvals(store).decide(decided(bundle=OTHER))
        with pytest.raises(IntegrityError, match="not one of ours"):
            state(store, OTHER)
        with environment(**{SIGNING_KEY: PRIVATE}):
            Approvals(store).decide(decided(bundle="c" * 64))
        assert state(store, "c" * 64) == "approved"


def test_a_signature_that_does_not_fit_is_refused(store: FolderStorage) -> None:
    from tests.adapters.test_audit import rewritten

    with environment(**{SIGNING_KEY: PRIVATE}):
        Approvals(store).decide(decided("reject"))
    line = store.get(LOG)
    store.put(LOG, rewritten(line, facts=decided().to_dict()))
    with pytest.raises(IntegrityError, match="its signature does not fit"):
        state(store)


def test_somebody_is_asked_once_and_again_after_some_days(storage: Storage) -> None:
    approvals = Approvals(storage)

    def ask(days: float) -> bool:
        now = NOON + timedelta(days=days)
        return approvals.ask(
            BUNDLE, model="shop", now=now, policy=POLICY, warnings=("bias:sex: 0.9",), by="ci"
        )

    assert [ask(days) for days in (0, 1, 2.9, 3.1, 4, 6.2)] == [True, False, False, True, False, True]
    (request,) = approvals.requests(NOON + timedelta(days=7))
    assert request.to_dict() == {
        "bundle": BUNDLE,
        "model": "shop",
        "asked": "2026-01-31T12:00:00+00:00",
        "reminded": "2026-02-06T16:48:00+00:00",
        "by": "ci",
        "warnings": ["bias:sex: 0.9"],
        "state": "pending",
    }
    approvals.decide(decided())
    assert [one.state for one in approvals.requests(NOON)] == ["approved"]
    assert [one.state for one in approvals.requests(NOON + timedelta(days=99))] == ["expired"]


def decide(storage: Storage, choice: str, by: str) -> int:
    return Approvals(storage).decide(decided(choice, by=by)).number


def test_people_who_decide_at_once_are_both_heard_and_the_second_counts(storage: Storage) -> None:
    numbers = at_once(storage, decide, [("approve", "ann"), ("reject", "bob")])
    assert sorted(numbers) == [1, 2]
    assert state(storage) == ("rejected" if numbers[1] == 2 else "approved")


def test_only_a_whole_id_names_a_bundle(store: FolderStorage) -> None:
    for wrong in ("a" * 12, "../" + "a" * 61, "A" * 64):
        with pytest.raises(UsageError, match="64 hexadecimal digits"):
            Approvals(store).records(wrong)


def test_a_line_that_is_no_decision_is_refused(store: FolderStorage) -> None:
    AuditLog(store).append(APPROVAL, BUNDLE, json.loads("{}"), NOON)
    with pytest.raises(IntegrityError, match="no decision on a bundle"):
        state(store)
