"""Wait for a person, hold a bundle to what he said, move aliases accordingly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.manifest import bundle_id, write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import FolderStorage
from cd4ml.errors import ConflictError, GateRejected, IntegrityError, UsageError
from cd4ml.steps.alias import move_alias
from cd4ml.steps.approval import approval_policy, await_approval, decide_on_bundle, require_approval
from tests.adapters.s3_server import environment
from tests.adapters.samples import make_bundle
from tests.steps.governed import make_governed, write_verdict

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
JUDGED = {"decision": "needs_approval"}


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None, "CD4ML_ACTOR": "ci"}):
        yield


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_governed(tmp_path / "run")


def decide(bundle: Path, store: str, choice: str = "approve", now: datetime = NOON) -> None:
    decide_on_bundle(
        bundle, choice, model="bike-demand", verdict=JUDGED, store=store, by="ann", reason="seen", now=now
    )


class Clock:
    """A clock that moves on by what is slept, and does something at a moment."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.plan: dict[int, Callable[[], None]] = {}
        self.slept = 0

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.at += timedelta(seconds=seconds)
        self.plan.get(self.slept, lambda: None)()


def wait(bundle: Path, store: str, seconds: float = 0, clock: Clock | None = None) -> str:
    clock = clock or Clock()
    run = bundle.parent
    paths = (run / "problem.json", bundle, run / "verdict.json")
    return await_approval(*paths, store, seconds, clock=clock.now, sleep=clock.sleep)


def kinds(store: str) -> list[str]:
    return [line.kind for line in AuditLog(FolderStorage(store)).lines()]


def test_somebody_is_asked_and_until_he_answers_it_is_pending(bundle: Path, store: str) -> None:
    assert wait(bundle, store) == "pending"
    (line,) = AuditLog(FolderStorage(store)).lines()
    assert (line.kind, line.subject, line.by) == ("approval_request", bundle_id(bundle), "ci")
    assert line.facts == {"model": "bike-demand", "warnings": ["bias:sex: the ratio is 0.9"]}
    decide(bundle, store)
    assert wait(bundle, store) == "approved"
    decide(bundle, store, "reject")
    assert wait(bundle, store) == "rejected"


def test_an_answer_within_the_time_ends_the_wait(bundle: Path, store: str) -> None:
    clock = Clock()
    clock.plan[3] = lambda: decide(bundle, store, now=clock.at)
    assert wait(bundle, store, 600, clock) == "approved"
    assert clock.slept == 3


def test_the_wait_ends_in_time_and_reminds_meanwhile(bundle: Path, store: str) -> None:
    make_governed(bundle.parent, remind_days=1)
    assert wait(bundle, store) == "pending"
    clock = Clock(NOON + timedelta(days=1, seconds=-8))
    assert wait(bundle, store, 13, clock) == "pending"
    assert clock.at == NOON + timedelta(days=1, seconds=5)
    assert kinds(store) == ["approval_request", "approval_reminder"]


def test_an_approval_that_ends_while_nobody_looks_is_expired(bundle: Path, store: str) -> None:
    decide(bundle, store)
    assert wait(bundle, store, clock=Clock(NOON + timedelta(days=31))) == "expired"


@pytest.mark.parametrize(("decision", "answer"), [("accept", "not_needed"), ("reject", "rejected")])
def test_what_the_judge_settled_asks_nobody(tmp_path: Path, store: str, decision: str, answer: str) -> None:
    assert wait(make_governed(tmp_path / "run", decision=decision), store) == answer
    assert kinds(store) == []


def test_a_person_may_reject_what_the_judge_accepts(tmp_path: Path, store: str) -> None:
    bundle = make_governed(tmp_path / "run", decision="accept")
    decide(bundle, store, "reject")
    assert wait(bundle, store) == "rejected"
    with pytest.raises(GateRejected, match=r"was rejected by ann on 2026-01-31 \(seen\)"):
        require_approval(bundle, "accept", store, NOON)


def test_a_byte_that_changes_after_the_approval_is_refused(bundle: Path, store: str) -> None:
    decide(bundle, store)
    require_approval(bundle, "needs_approval", store, NOON)
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    for attempt in (
        lambda: wait(bundle, store),
        lambda: require_approval(bundle, "needs_approval", store, NOON),
        lambda: decide(bundle, store),
    ):
        with pytest.raises(IntegrityError, match=r"'model.onnx' was changed"):
            attempt()
    write_manifest(bundle, format="1", problem="bike-demand")  # a manifest that fits makes another bundle
    with pytest.raises(GateRejected, match=r"the verdict is about bundle .*Judge this bundle"):
        wait(bundle, store)
    with pytest.raises(GateRejected, match="nobody has decided on the bundle"):
        require_approval(bundle, "needs_approval", store, NOON)


def test_a_byte_that_changes_while_it_waits_is_refused(bundle: Path, store: str) -> None:
    clock = Clock()

    def swap() -> None:
        decide(bundle, store, now=clock.at)
        (bundle / "model.onnx").write_text("another model")
        write_manifest(bundle, format="1", problem="bike-demand")

    clock.plan[1] = swap
    with pytest.raises(IntegrityError, match="when somebody was asked about it and is"):
        wait(bundle, store, 60, clock)


def test_an_approval_does_not_serve_another_bundle(bundle: Path, tmp_path: Path, store: str) -> None:
    decide(bundle, store)
    other = make_governed(tmp_path / "other", "another model")
    assert wait(other, store) == "pending"
    with pytest.raises(GateRejected, match=f"nobody has decided on the bundle {bundle_id(other)[:12]}"):
        require_approval(other, "needs_approval", store, NOON)


def test_an_expired_approval_is_refused(bundle: Path, store: str) -> None:
    decide(bundle, store)
    require_approval(bundle, "needs_approval", store, NOON + timedelta(days=30))
    with pytest.raises(GateRejected, match=r"expired on 2026-03-02 12:00 UTC"):
        require_approval(bundle, "needs_approval", store, NOON + timedelta(days=30, seconds=1))


def test_an_edited_line_of_the_log_is_refused(bundle: Path, store: str) -> None:
    decide(bundle, store, "reject")
    path = Path(store) / "audit/000001.jsonl"
    path.write_text(path.read_text().replace('"choice":"reject"', '"choice":"approve"'))
    with pytest.raises(IntegrityError, match="line 1 of the audit log was altered"):
        require_approval(bundle, "needs_approval", store, NOON)
    with pytest.raises(IntegrityError, match="line 1 of the audit log was altered"):
        wait(bundle, store)


@pytest.mark.parametrize("decision", ["reject", ""])
def test_nobody_approves_what_the_judge_refused_or_did_not_see(
    bundle: Path, store: str, decision: str
) -> None:
    with pytest.raises(GateRejected, match="a person approves what the judge left open"):
        decide_on_bundle(
            bundle, "approve", model="m", verdict={"decision": decision}, store=store, by="ann", reason="x"
        )
    assert kinds(store) == []
    with pytest.raises(GateRejected, match=f"the verdict is '{decision or 'none'}', not 'accept'"):
        require_approval(bundle, decision, store)


def test_the_policy_is_the_one_in_the_bundle(tmp_path: Path, store: str) -> None:
    bundle = make_governed(tmp_path / "run", valid_days=2)
    assert approval_policy(bundle).valid_days == 2
    decide(bundle, store)
    with pytest.raises(GateRejected, match="expired on 2026-02-02"):
        require_approval(bundle, "needs_approval", store, NOON + timedelta(days=3))
    assert approval_policy(make_bundle(tmp_path / "bare")).valid_days == 30
    (tmp_path / "bare/problem.json").write_text('{"approval": {"valid_days": 0}}')
    with pytest.raises(UsageError, match="has no sound `approval`"):
        approval_policy(tmp_path / "bare")


def test_a_bundle_that_is_not_signed_by_our_key_is_not_approved(bundle: Path, store: str) -> None:
    private, public = generate_keypair()
    with (
        environment(**{SIGNING_KEY: private, VERIFY_KEY: public}),
        pytest.raises(IntegrityError, match="UNSIGNED"),
    ):
        decide(bundle, store)


@pytest.fixture
def registry(store: str, bundle: Path) -> Registry:
    registry = Registry(FolderStorage(store))
    registry.push(bundle, "shop", "needs_approval")
    return registry


def test_an_alias_waits_for_the_approval(registry: Registry, bundle: Path, store: str) -> None:
    with pytest.raises(GateRejected, match=r"shop@1: the verdict is 'needs_approval' and nobody has decided"):
        move_alias("shop", "champion", "1", store=store)
    assert (registry.aliases("shop"), kinds(store)) == ({}, [])
    decide(bundle, store, now=datetime.now(UTC))
    change = move_alias("shop", "champion", "latest", store=store, reason="approved", by="bob")
    assert (change.to_version, change.by) == (1, "bob")
    last = list(AuditLog(FolderStorage(store)).lines())[-1]
    assert (last.kind, last.subject, last.by) == ("alias", "shop", "bob")
    assert last.facts == {
        "alias": "champion",
        "bundle": bundle_id(bundle),
        "forced": False,
        "from": None,
        "reason": "approved",
        "to": 1,
        "verdict": "needs_approval",
    }


def test_an_alias_does_not_move_to_an_approved_bundle_that_was_changed_in_the_store(
    registry: Registry, bundle: Path, store: str
) -> None:
    decide(bundle, store, now=datetime.now(UTC))
    stored = Path(registry.storage_uri(registry.get("shop"))) / "model.onnx"
    stored.write_bytes(b"!" + stored.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"'model.onnx' was changed"):
        move_alias("shop", "champion", "1", store=store)
    assert registry.aliases("shop") == {}


def test_force_moves_it_with_a_reason_that_the_log_keeps(registry: Registry, store: str) -> None:
    with pytest.raises(UsageError, match="--force needs a --reason"):
        move_alias("shop", "champion", "1", store=store, force=True, reason=" ")
    move_alias("shop", "champion", "1", store=store, force=True, reason="the old one is down")
    (line,) = AuditLog(FolderStorage(store)).lines()
    assert (line.facts["forced"], line.facts["reason"]) == (True, "the old one is down")
    assert registry.aliases("shop") == {"champion": 1}
    move_alias("shop", "champion", None, store=store)
    assert registry.aliases("shop") == {}
    assert list(AuditLog(FolderStorage(store)).lines())[-1].facts["to"] is None


def test_a_move_that_was_lost_is_told_as_such(registry: Registry, store: str) -> None:
    with pytest.raises(ConflictError):
        move_alias("shop", "champion", "1", store=store, force=True, reason="x", expected=7)
    assert kinds(store) == ["alias", "alias_not_moved"]
    assert registry.aliases("shop") == {}


def test_nothing_moves_unrecorded(registry: Registry, store: str) -> None:
    (Path(store) / "audit").mkdir()
    (Path(store) / "audit/000001.jsonl").write_text("no log\n")
    with pytest.raises(IntegrityError, match="line 1 of the audit log was altered"):
        move_alias("shop", "champion", "1", store=store, force=True, reason="x")
    assert registry.aliases("shop") == {}


def test_a_verdict_on_another_bundle_is_refused(bundle: Path, store: str) -> None:
    write_verdict(bundle, "needs_approval", of="f" * 64)
    with pytest.raises(GateRejected, match="the verdict is about bundle ffffffffffff"):
        wait(bundle, store)
