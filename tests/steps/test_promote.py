"""A bundle goes from one environment to another: the same bytes, with proof, once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.approvals import Approvals
from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.environment import Environment, Needs, read_environment, write_environment
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.errors import ConflictError, GateRejected, IntegrityError, NotFoundError, UsageError
from cd4ml.steps.alias import move_alias
from cd4ml.steps.approval import decide_on_bundle
from cd4ml.steps.promote import promote
from tests.adapters.s3_server import environment
from tests.steps.promotions import NAME, NO_KEYS, Person, lines, pushed


@pytest.fixture(autouse=True)
def _nobodys_keys() -> Iterator[None]:
    with environment(**NO_KEYS):
        yield


@pytest.fixture
def staging(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "staging")


@pytest.fixture
def production(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "production")


def _promote(source: FolderStorage, target: FolderStorage, ref: str = "latest", **more: object) -> object:
    return promote(NAME, ref, str(target.root), store=str(source.root), by="ann", **more)  # type: ignore[arg-type]


def _decide(storage: FolderStorage, tmp_path: Path, choice: str, decision: str = "needs_approval") -> None:
    shutil.rmtree(tmp_path / "seen", ignore_errors=True)
    bundle = Registry(storage).pull(NAME, "latest", tmp_path / "seen")
    decide_on_bundle(
        bundle,
        choice,  # type: ignore[arg-type]
        model=NAME,
        verdict={"decision": decision},
        store=str(storage.root),
        by="eve",
        reason="looked at it",
    )


def _snapshot(storage: FolderStorage) -> dict[str, bytes]:
    return {key: storage.get(key) for key in storage.list("")}


def test_the_same_bytes_record_and_history_are_in_the_target(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path)
    done = _promote(staging, production, reason="it is good")
    assert (done.state, done.to_version, done.alias_from) == ("promoted", 1, None)
    there = Registry(production).get(NAME, "challenger")
    for part in ("bundle", "verdict", "metrics", "git", "lineage", "limits"):
        assert getattr(there, part) == getattr(version, part), part
    for key in staging.list(f"bundles/{version.bundle}"):
        assert production.get(key) == staging.get(key)
    (told,) = lines(production, "promotion")
    assert (told.subject, told.facts["version"], told.facts["verdict"]) == (version.bundle, 1, "accept")
    assert told.facts["from"] == staging.url(f"bundles/{version.bundle}")
    (sent,) = lines(staging, "promoted")
    assert sent.facts["to"] == done.to == production.url(f"bundles/{version.bundle}")
    assert [line.kind for line in AuditLog(production).lines()] == ["promotion", "alias"]
    assert Registry(production).history(NAME)[0].reason == "it is good"


def test_the_same_bundle_twice_is_one_version_and_one_line_each(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    _promote(staging, production)
    before = _snapshot(staging), _snapshot(production)
    again = _promote(staging, production)
    assert (again.state, again.steps, again.to_version) == ("unchanged", (), 1)
    assert (_snapshot(staging), _snapshot(production)) == before


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    before = _snapshot(staging)
    planned = _promote(staging, production, dry_run=True)
    assert planned.state == "planned" and planned.to_version is None
    assert _snapshot(staging) == before and not production.root.exists()
    assert _promote(staging, production).steps == planned.steps
    assert len(planned.steps) == 5


@pytest.mark.parametrize("decision", ["reject", ""])
def test_what_the_judge_did_not_let_through_stays(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage, decision: str
) -> None:
    pushed(staging, tmp_path, decision=decision)
    with pytest.raises(GateRejected, match="not 'accept'"):
        _promote(staging, production)
    assert not production.root.exists()


def test_an_approval_that_the_verdict_asks_for_is_carried_and_counts_there(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path, decision="needs_approval")
    with pytest.raises(GateRejected, match="needs_approval"):
        _promote(staging, production)
    assert not production.root.exists()
    _decide(staging, tmp_path, "approve")
    assert "carry the approval" in _promote(staging, production).steps
    (original,) = Approvals(staging).lines(version.bundle)
    (told,) = lines(production, "promotion")
    assert told.facts["approvals"] == [original.to_dict()]
    assert Approvals(production).records(version.bundle) == Approvals(staging).records(version.bundle)
    # The target's own gate lets it through, and a repetition carries nothing twice.
    move_alias(NAME, "champion", "1", store=str(production.root))
    assert _promote(staging, production).state == "unchanged"
    assert len(lines(production, "approval")) == 1


def test_an_environment_that_wants_every_bundle_approved_gets_it(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    write_environment(production, Environment("production", "always"))
    with pytest.raises(GateRejected, match="takes no bundle without an approval"):
        _promote(staging, production)
    _decide(staging, tmp_path, "approve", "accept")
    assert _promote(staging, production).state == "promoted"


def test_an_environment_with_approvals_of_its_own_waits_for_one(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path, decision="needs_approval")
    _decide(staging, tmp_path, "approve")
    write_environment(production, Environment("production", "here"))
    for _ in range(2):
        with pytest.raises(GateRejected, match="models approve bike-demand@1"):
            _promote(staging, production)
    assert Registry(production).get(NAME).version == 1
    assert Registry(production).aliases(NAME) == {}
    assert len(lines(production, "approval_request")) == len(lines(production, "promotion")) == 1
    assert lines(staging, "promoted") == []
    _decide(production, tmp_path, "approve")
    assert _promote(staging, production).to_version == 1
    assert Registry(production).aliases(NAME) == {"challenger": 1}
    assert _promote(staging, production).state == "unchanged"


def test_a_carried_approval_is_none_of_the_environments_own(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path, decision="needs_approval")
    _decide(staging, tmp_path, "approve")
    _promote(staging, production)
    write_environment(production, Environment("production", "here"))
    with pytest.raises(GateRejected, match="an approval of its own"):
        _promote(staging, production)


@pytest.mark.parametrize("where", ["staging", "production"])
def test_what_a_person_rejected_in_either_store_is_not_promoted(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage, where: str
) -> None:
    pushed(staging, tmp_path)
    _promote(staging, production, alias="candidate")
    _decide(staging if where == "staging" else production, tmp_path, "reject", "accept")
    with pytest.raises(GateRejected, match="rejected"):
        _promote(staging, production)
    assert "challenger" not in Registry(production).aliases(NAME)


def test_a_changed_byte_is_refused_before_anything_is_written(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path)
    staging.put(f"bundles/{version.bundle}/model.onnx", b"another model")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        _promote(staging, production)
    assert not production.root.exists()


def test_bytes_that_arrived_changed_get_no_version(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path)
    Registry(production).upload(tmp_path / "a-model" / "bundle")
    production.put(f"bundles/{version.bundle}/model.onnx", b"another model")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        _promote(staging, production)
    assert Registry(production).models() == []
    assert lines(staging, "promoted") == []


def test_only_a_signature_that_the_target_trusts_counts_there(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    maker, promoter = Person(), Person()
    with maker.works():
        pushed(staging, tmp_path)
    with (
        promoter.works(maker.public + promoter.public, promoter.public),
        pytest.raises(IntegrityError, match="UNVERIFIED"),
    ):
        _promote(staging, production)
    assert not production.root.exists()
    with promoter.works(maker.public + promoter.public, maker.public + promoter.public):
        assert _promote(staging, production).state == "promoted"
        assert AuditLog(production).verify().unsigned == 0
        assert AuditLog(staging).verify().unsigned == 0


def test_an_approver_must_be_trusted_in_the_target(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    maker, approver = Person(), Person()
    both = maker.public + approver.public
    with maker.works():
        pushed(staging, tmp_path, decision="needs_approval")
    with approver.works(both):
        _decide(staging, tmp_path, "approve")
    with maker.works(both, maker.public), pytest.raises(IntegrityError, match="does not count"):
        _promote(staging, production)
    with maker.works(both, both):
        assert _promote(staging, production).state == "promoted"


def test_an_environment_of_signed_bundles_needs_keys_and_a_signature(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    write_environment(production, Environment("production", signed=True))
    with pytest.raises(UsageError, match="CD4ML_TARGET_VERIFY_KEY"):
        _promote(staging, production)
    somebody, other = Person(), Person()
    with environment(CD4ML_TARGET_VERIFY_KEY=somebody.public):
        with pytest.raises(UsageError, match="CD4ML_SIGNING_KEY"):
            _promote(staging, production)
        with other.works(None, somebody.public), pytest.raises(UsageError, match="would not count"):
            _promote(staging, production)
    with somebody.works(None, somebody.public), pytest.raises(IntegrityError, match="UNSIGNED"):
        _promote(staging, production)


def test_an_older_version_does_not_go_over_a_newer_one_unseen(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    for model in ("first", "second", "third"):
        pushed(staging, tmp_path, model)
    _promote(staging, production, "2")
    with pytest.raises(UsageError, match="is version 2 here"):
        _promote(staging, production, "1")
    with pytest.raises(UsageError, match="--reason"):
        _promote(staging, production, "1", allow_downgrade=True)
    assert _promote(staging, production, "3").to_version == 2
    done = _promote(staging, production, "1", allow_downgrade=True, reason="3 is slow")
    assert (done.to_version, done.alias_from) == (3, 2)
    assert Registry(production).aliases(NAME) == {"challenger": 3}


def test_a_champion_from_elsewhere_is_a_surprise(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    pushed(production, tmp_path, "a hotfix")
    move_alias(NAME, "champion", "1", store=str(production.root))
    with pytest.raises(UsageError, match="never was in this store"):
        _promote(staging, production)


def test_of_two_who_move_the_alias_one_loses(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    for model in ("first", "second"):
        pushed(staging, tmp_path, model)
    _promote(staging, production, "1")
    with pytest.raises(ConflictError, match="somebody moved it"):
        _promote(staging, production, "2", expected=None)
    assert _promote(staging, production, "2", expected=1).to_version == 2
    # What is done already is no conflict: the same call may come twice.
    assert _promote(staging, production, "2", expected=1).state == "unchanged"


def test_a_bundle_that_the_target_has_without_the_verdict_is_refused(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    Registry(production).push(tmp_path / "a-model" / "bundle", NAME)
    with pytest.raises(GateRejected, match="without this verdict"):
        _promote(staging, production)


def test_what_is_not_there_and_the_store_itself_are_refused(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    pushed(staging, tmp_path)
    with pytest.raises(NotFoundError, match="no version 'champion'"):
        _promote(staging, production, "champion")
    with pytest.raises(UsageError, match="comes from"):
        _promote(staging, staging)


@pytest.mark.parametrize("document", ['{"name": "p"}', '{"name": "p", "approval": "no", "signed": true}'])
def test_demands_that_are_not_sound_let_nothing_in(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage, document: str
) -> None:
    pushed(staging, tmp_path)
    production.put("environment.json", document.encode())
    with pytest.raises(IntegrityError, match="models environment"):
        _promote(staging, production)


@pytest.mark.parametrize("needs", ["verdict", "always", "here"])
def test_demands_are_read_as_they_were_written(production: FolderStorage, needs: Needs) -> None:
    assert read_environment(production) == Environment()
    write_environment(production, Environment("production", needs, True))
    assert read_environment(production) == Environment("production", needs, True)


def _again_and_again(source: str, target: str, done: str = os.devnull) -> None:
    found = promote(NAME, "latest", target, store=source, by="ann")
    with Path(done).open("a") as file:
        file.write(str(found.to_version))


def test_killed_at_any_moment_it_goes_on_and_is_done_once(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path, decision="needs_approval")
    _decide(staging, tmp_path, "approve")
    context = multiprocessing.get_context("fork")
    for pause_seconds in (0.0, 0.004, 0.008, 0.012, 0.02, 0.03, 0.045, 0.06, 0.09, 0.12):
        worker = context.Process(target=_again_and_again, args=(str(staging.root), str(production.root)))
        worker.start()
        time.sleep(pause_seconds)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        AuditLog(production).verify()
        for number in Registry(production).aliases(NAME).values():
            Registry(production).pull(NAME, number, tmp_path / "whole")
    assert _promote(staging, production).to_version == 1
    assert [one.bundle for one in Registry(production).versions(NAME)] == [version.bundle]
    for kind in ("promotion", "approval"):
        assert len(lines(production, kind)) == 1
    assert len(lines(staging, "promoted")) == 1
    assert len(Registry(production).history(NAME)) == 1


def test_several_who_promote_the_same_at_once_make_one_version(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage
) -> None:
    version = pushed(staging, tmp_path)
    context = multiprocessing.get_context("fork")
    arguments = (str(staging.root), str(production.root), str(tmp_path / "done"))
    workers = [context.Process(target=_again_and_again, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # Who comes too late to move the alias finds that it is done.
    assert len(lines(staging, "promoted")) >= 1
    assert (tmp_path / "done").read_text() == "1" * len(workers)
    assert _promote(staging, production).state == "unchanged"
    assert [one.bundle for one in Registry(production).versions(NAME)] == [version.bundle]
    assert len(Registry(production).history(NAME)) == 1
    AuditLog(production).verify()
    AuditLog(staging).verify()
