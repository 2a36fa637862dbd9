"""Decisions on bundles: the last one counts, for one bundle, until its end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.approval import Decided, reminder_due, standing
from cd4ml.errors import IntegrityError, UsageError
from cd4ml.problem import Approval

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BUNDLE, OTHER = "a" * 64, "b" * 64
POLICY = Approval(valid_days=30, remind_days=3)


def decided(choice: str = "approve", days: float = 0, bundle: str = BUNDLE, by: str = "ann") -> Decided:
    at = NOON + timedelta(days=days)
    until = at + timedelta(days=30)
    return Decided(bundle, "shop", choice, by, "looked at it", at, until, "needs_approval", ("bias:x",))


def test_nobody_decided() -> None:
    found = standing([], BUNDLE, NOON, POLICY)
    assert (found.state, found.decision) == ("pending", None)
    assert found.reason == "nobody has decided on the bundle aaaaaaaaaaaa"


def test_an_approval_says_who_why_and_until_when() -> None:
    found = standing([decided()], BUNDLE, NOON, POLICY)
    assert found.state == "approved"
    assert found.reason == (
        "the bundle aaaaaaaaaaaa was approved by ann on 2026-01-31 (looked at it), until 2026-03-02"
    )


@pytest.mark.parametrize(
    ("choices", "state"),
    [
        (["approve", "reject"], "rejected"),
        (["reject", "approve"], "approved"),
        (["reject"], "rejected"),
        (["approve", "reject", "approve"], "approved"),
    ],
)
def test_the_last_decision_counts(choices: list[str], state: str) -> None:
    records = [decided(choice, number / 10) for number, choice in enumerate(choices)]
    assert standing(records, BUNDLE, NOON + timedelta(days=1), POLICY).state == state


def test_an_approval_holds_through_its_last_second_and_then_expires() -> None:
    end = NOON + timedelta(days=30)
    assert standing([decided()], BUNDLE, end, POLICY).state == "approved"
    found = standing([decided()], BUNDLE, end + timedelta(seconds=1), POLICY)
    assert found.state == "expired"
    assert "expired on 2026-03-02 12:00 UTC; it was given by ann" in found.reason


def test_a_shorter_policy_ends_an_approval_earlier_and_a_longer_one_does_not_prolong_it() -> None:
    at = NOON + timedelta(days=10)
    assert standing([decided()], BUNDLE, at, Approval(valid_days=9)).state == "expired"
    later = NOON + timedelta(days=31)
    assert standing([decided()], BUNDLE, later, Approval(valid_days=90)).state == "expired"
    assert standing([decided()], BUNDLE, later).state == "expired"
    assert standing([decided()], BUNDLE, at).state == "approved"


def test_a_rejection_does_not_expire() -> None:
    assert standing([decided("reject")], BUNDLE, NOON + timedelta(days=999), POLICY).state == "rejected"


def test_a_decision_on_another_bundle_is_refused_wherever_it_stands() -> None:
    for records in ([decided(bundle=OTHER)], [decided(bundle=OTHER), decided()]):
        with pytest.raises(IntegrityError, match="is on the bundle bbbbbbbbbbbb and not on aaaaaaaaaaaa"):
            standing(records, BUNDLE, NOON, POLICY)


def test_a_decision_from_the_future_is_refused_but_for_clocks_that_differ_a_little() -> None:
    assert standing([decided(days=0.01)], BUNDLE, NOON, POLICY).state == "approved"
    with pytest.raises(IntegrityError, match="which is still to come"):
        standing([decided(days=1)], BUNDLE, NOON, POLICY)


def test_a_reminder_is_due_after_some_days() -> None:
    assert not reminder_due(NOON, NOON + timedelta(days=2.9), POLICY)
    assert reminder_due(NOON, NOON + timedelta(days=3), POLICY)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choice": "maybe"}, "must be approve or reject; got 'maybe'"),
        ({"by": " "}, "needs who decided; say --by"),
        ({"reason": ""}, "needs a reason; say --reason"),
        ({"at": datetime(2026, 1, 1)}, "need their zone"),
    ],
)
def test_what_nobody_could_answer_for_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(decided(), **changes)


def test_a_decision_survives_json_and_damage_is_refused() -> None:
    text = json.dumps(decided().to_dict())
    assert Decided.from_dict(json.loads(text)) == decided()
    for damage in ({}, {**json.loads(text), "at": "noon"}, {**json.loads(text), "more": 1}):
        with pytest.raises(IntegrityError, match="no decision on a bundle"):
            Decided.from_dict(damage)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["approve", "reject"]), max_size=5), st.floats(0, 60))
def test_a_bundle_is_approved_only_by_a_last_approval_that_is_young_enough(
    choices: list[str], days: float
) -> None:
    found = standing([decided(choice) for choice in choices], BUNDLE, NOON + timedelta(days=days), POLICY)
    approved = bool(choices) and choices[-1] == "approve" and days <= 30
    assert (found.state == "approved") == approved
