"""What may be served, and what is fetched for it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.manifest import bundle_id, verify_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.delivery.local.plane import LocalPlane
from cd4ml.delivery.plane import Variant
from cd4ml.errors import Cd4mlError, GateRejected, IntegrityError, NotFoundError, UsageError
from cd4ml.models.history import write_history
from cd4ml.models.runtime import Bundle
from cd4ml.steps.approval import decide_on_bundle
from cd4ml.steps.serve import Changes, Permission, change_service, fetch_variant
from tests.models.bundles import bundle, copy


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def push(store: str, verdict: str) -> Registry:
    registry = Registry(open_store(store))
    registry.push(bundle("people"), "people", verdict=verdict)
    return registry


def fetch(store: str, folder: Path, role: str = "stable", ref: str = "latest", **more: Any) -> Variant:
    return fetch_variant(("people", ref), folder / "bundles", role, Permission(store=store, **more))[1]


def decide(store: str, choice: Any) -> None:
    facts: Mapping[str, Any] = {"model": "people", "by": "ann", "reason": "seen", "store": store}
    verdict = {"decision": "needs_approval"}
    decide_on_bundle(bundle("people"), choice, verdict=verdict, now=datetime.now(UTC), **facts)


def test_an_accepted_version_is_fetched_whole_under_its_id(store: str, tmp_path: Path) -> None:
    push(store, "accept").set_alias("people", "champion", 1)
    found = fetch(store, tmp_path, ref="champion")
    identity = bundle_id(bundle("people"))
    assert found == Variant("people@champion (1)", "1", identity, str(tmp_path / "bundles" / identity))
    assert verify_manifest(Path(found.location))
    assert fetch(store, tmp_path, ref="1").reference == "people@1"


@pytest.mark.parametrize(("verdict", "role"), [("reject", "stable"), ("reject", "shadow"), ("", "canary")])
def test_what_the_judge_did_not_let_through_is_refused(
    verdict: str, role: str, store: str, tmp_path: Path
) -> None:
    push(store, verdict)
    with pytest.raises(GateRejected, match="--force with a --reason"):
        fetch(store, tmp_path, role)


def test_what_waits_for_its_approval_may_be_a_shadow_and_nothing_else(store: str, tmp_path: Path) -> None:
    push(store, "needs_approval")
    assert fetch(store, tmp_path, "shadow").version == "1"
    for role in ("stable", "canary"):
        with pytest.raises(GateRejected, match="needs_approval"):
            fetch(store, tmp_path, role)
    decide(store, "approve")
    assert fetch(store, tmp_path, "canary").version == "1"


def test_what_a_person_rejected_is_not_even_a_shadow(store: str, tmp_path: Path) -> None:
    push(store, "needs_approval")
    decide(store, "reject")
    with pytest.raises(GateRejected, match="reject"):
        fetch(store, tmp_path, "shadow")


def test_force_needs_a_reason_and_is_told_in_the_audit_log(store: str, tmp_path: Path) -> None:
    push(store, "reject")
    with pytest.raises(UsageError, match="--reason"):
        fetch(store, tmp_path, force=True, reason=" ")
    assert fetch(store, tmp_path, force=True, reason="a demonstration", by="ann").version == "1"
    line = list(AuditLog(open_store(store)).lines())[-1]
    assert (line.kind, line.by, line.facts["reason"]) == ("serve_forced", "ann", "a demonstration")
    assert line.facts["verdict"] == "reject"


def test_a_folder_is_copied_so_that_what_is_served_stays(store: str, tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "out" / "bundle")
    name, found = fetch_variant(folder, tmp_path / "bundles", "stable", Permission(store=store))
    assert name == "people"
    assert found.version == found.bundle[:12]
    shutil.rmtree(folder)
    assert bundle_id(Path(found.location)) == found.bundle
    assert verify_manifest(Path(found.location))


def test_a_folder_that_was_rejected_or_altered_is_refused(store: str, tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "out" / "bundle")
    verdict = {"decision": "reject", "subject": {"bundle": bundle_id(folder)}}
    (tmp_path / "out" / "verdict.json").write_text(json.dumps(verdict))
    with pytest.raises(GateRejected, match="reject"):
        fetch_variant(folder, tmp_path / "bundles", "stable", Permission(store=store))
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        fetch_variant(folder, tmp_path / "bundles", "stable", Permission(store=store))


def test_a_history_table_must_be_one_of_the_bundle(store: str, tmp_path: Path) -> None:
    loaded = Bundle.load(bundle("shop"))
    more = (tmp_path / "bundles", "stable", Permission(store=store))
    write_history(tmp_path / "history", loaded, loaded.state, snapshot="5" * 64, rows=9, changes={})
    _, found = fetch_variant(bundle("shop"), *more, history=tmp_path / "history")
    assert found.history == str(tmp_path / "history")
    with pytest.raises(Cd4mlError):
        fetch_variant(bundle("people"), *more, history=tmp_path / "history")
    with pytest.raises(Cd4mlError):
        fetch_variant(bundle("shop"), *more, history=tmp_path / "nothing")


def local(tmp_path: Path, store: str) -> tuple[LocalPlane, Variant]:
    plane = LocalPlane(tmp_path / "plane")
    _, found = fetch_variant(bundle("people"), plane.state.bundles, "stable", Permission(store=store))
    return plane, found


def test_what_is_not_named_stays_and_none_takes_away(store: str, tmp_path: Path) -> None:
    plane, one = local(tmp_path, store)
    two = replace(one, version="2")
    with pytest.raises(NotFoundError, match="--stable"):
        change_service(plane, "people", Changes(weight=10))
    first = change_service(plane, "people", Changes(one, two, two, 10, 50, "header:u"))
    assert (first.canary_percent, first.mirror_percent, first.sticky) == (10, 50, "header:u")
    second = change_service(plane, "people", Changes(weight=20))
    assert second == replace(first, canary_percent=20)
    third = change_service(plane, "people", Changes(canary="", shadow="", sticky=""))
    assert third == replace(first, canary=None, shadow=None, canary_percent=0, mirror_percent=0, sticky="")


def test_a_canary_of_another_problem_is_refused(store: str, tmp_path: Path) -> None:
    plane, one = local(tmp_path, store)
    change_service(plane, "people", Changes(one))
    _, other = fetch_variant(bundle("shop"), plane.state.bundles, "canary", Permission(store=store))
    with pytest.raises(UsageError, match="the problem 'corner-shop'"):
        change_service(plane, "people", Changes(canary=other))
    found = plane.state.desired("people")
    assert found is not None
    assert found[0].canary is None
