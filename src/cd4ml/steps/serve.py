"""What is needed before a model can be served here: find it, see that it may be used, fetch it whole."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import GateRejected, UsageError
from cd4ml.steps.approval import bundle_standing, require_approval
from cd4ml.steps.documents import read

if TYPE_CHECKING:
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import DesiredService, Variant

__all__ = ["Changes", "Permission", "change_service", "fetch_variant", "same_problem", "with_history"]

_SHORT = 12


@dataclass(frozen=True)
class Permission:
    """Who asks, and whether what the judge or a person refused shall be served all the same.

    Attributes
    ----------
    force : bool
        Needs a reason.
    store : str
        Where registry and audit log are; "" for the default store.
    """

    force: bool = False
    reason: str = ""
    by: str = ""
    store: str = ""


@dataclass(frozen=True)
class Changes:
    """What to change of a service; None leaves a thing as it is, and a variant of "" takes it away."""

    stable: Variant | None = None
    canary: Variant | str | None = None
    shadow: Variant | str | None = None
    weight: float | None = None
    mirror: float | None = None
    sticky: str | None = None
    salt: str | None = None


def fetch_variant(
    source: Path | tuple[str, str],
    bundles: Path,
    role: str,
    permission: Permission,
    history: Path | None = None,
) -> tuple[str, Variant]:
    """Return a model's name and the variant that serves it, with its bundle verified and beneath `bundles`.

    Parameters
    ----------
    source : Path or (str, str)
        The folder of a bundle, or name and version (number, alias, "latest") in the registry.
    role : str
        "stable" and "canary" answer callers, so they need a verdict of accept, or an approval; a "shadow"
        answers nobody, so it may wait for its approval.

    Raises
    ------
    GateRejected
        If the judge or a person rejected it, or nobody approved what needs it.
    IntegrityError
        If a byte of it was changed.
    """
    if permission.force and not permission.reason.strip():
        raise UsageError("--force needs a --reason; it is kept in the audit log")
    name, variant, verdict = (
        _from_folder(source, bundles)
        if isinstance(source, Path)
        else _from_registry(*source, bundles, permission.store)
    )
    label = f"{variant.reference} ({variant.bundle[:_SHORT]})"
    _require(
        Path(variant.location), label, verdict, role, permission, registered=not isinstance(source, Path)
    )
    return name, variant if history is None else with_history(variant, history)


def with_history(variant: Variant, history: Path) -> Variant:
    """Return a variant with a newer history table, once that has proved whole and of its bundle."""
    from cd4ml.models.history import load_history
    from cd4ml.models.runtime import Bundle

    folder = history.expanduser().absolute()
    load_history(folder, Bundle.load(Path(variant.location)))
    return replace(variant, history=str(folder))


def change_service(plane: LocalPlane, service: str, changes: Changes) -> DesiredService:
    """Apply changes to what a service shall be, whatever others change meanwhile, and return it."""
    return plane.state.change(service, lambda old: _changed(service, old, changes))[0]


def _changed(service: str, old: DesiredService | None, changes: Changes) -> DesiredService:
    from cd4ml.delivery.plane import DesiredService
    from cd4ml.errors import NotFoundError

    if old is None:
        if changes.stable is None:
            raise NotFoundError(f"the plane has no service '{service}'; give it a stable model with --stable")
        old = DesiredService(service, changes.stable)
    values: dict[str, Any] = {}
    for name in ("canary", "shadow"):
        told = getattr(changes, name)
        if told is not None:
            values[name] = told or None
    if changes.stable is not None:
        values["stable"] = changes.stable
    shares = {"canary": ("canary_percent", changes.weight), "shadow": ("mirror_percent", changes.mirror)}
    for name, (field, told) in shares.items():
        if told is not None:
            values[field] = told
        elif name in values and values[name] is None:
            values[field] = 0.0
    more = {"sticky": changes.sticky, "salt": changes.salt}
    values |= {name: told for name, told in more.items() if told is not None}
    new = replace(old, **values)
    same_problem(old.stable, *new.variants.values())
    return new


def same_problem(first: Variant, *others: Variant) -> None:
    """Refuse a service whose variants answer different questions: its callers ask one."""
    asked = _problem_name(Path(first.location))
    for other in others:
        if (found := _problem_name(Path(other.location))) != asked:
            raise UsageError(
                f"the service answers the problem '{asked}', and {other.reference} the problem '{found}';"
                " serve it as a service of its own"
            )


def _problem_name(bundle: Path) -> str:
    problem = bundle / "problem.json"
    return str(read(problem).get("name") or "") if problem.is_file() else ""


def _from_registry(name: str, ref: str, bundles: Path, store: str) -> tuple[str, Variant, str]:
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store
    from cd4ml.delivery.plane import Variant

    registry = Registry(open_store(store or None))
    version = registry.get(name, ref)
    folder = registry.pull(name, version.version, bundles / version.bundle)
    reference = f"{name}@{ref}" if ref == str(version.version) else f"{name}@{ref} ({version.version})"
    return name, Variant(reference, str(version.version), version.bundle, str(folder)), version.verdict


def _from_folder(source: Path, bundles: Path) -> tuple[str, Variant, str]:
    """Copy a bundle in: what is served does not change when somebody builds there again."""
    from cd4ml.adapters.manifest import bundle_id, verify_manifest
    from cd4ml.adapters.signing import require_signature
    from cd4ml.adapters.storage import atomic
    from cd4ml.delivery.plane import Variant

    verify_manifest(source)
    require_signature(source)
    identity = bundle_id(source)
    folder = (bundles / identity).absolute()
    if not folder.is_dir():
        with atomic.directory(folder) as fresh:
            shutil.copytree(source, fresh, dirs_exist_ok=True)
    verify_manifest(folder)
    if not (name := _problem_name(source)):
        raise UsageError(f"'{source}' does not say the name of its problem; write NAME={source}")
    beside = source.absolute().parent / "verdict.json"
    verdict = read(beside) if beside.is_file() else {}
    about = (verdict.get("subject") or {}).get("bundle")
    decision = str(verdict.get("decision", "")) if about == identity else ""
    return name, Variant(str(source), identity[:_SHORT], identity, str(folder)), decision


def _require(
    bundle: Path, label: str, verdict: str, role: str, permission: Permission, registered: bool
) -> None:
    """Refuse what may not be served; where that is forced, the audit log is told first."""
    try:
        if verdict == "reject":
            raise GateRejected("the verdict is 'reject'. Mend what failed and run the gates again")
        standing = bundle_standing(bundle, permission.store)
        if standing.state == "rejected":
            raise GateRejected(f"{standing.reason}. Ask for a new approval")
        # A folder without a verdict is somebody's own work: nothing refused it.
        if role != "shadow" and (registered or verdict):
            require_approval(bundle, verdict, permission.store)
    except GateRejected as error:
        if not permission.force:
            raise GateRejected(f"{label}: {error}, or say --force with a --reason") from error
        _tell(bundle, label, verdict, role, permission, str(error))


def _tell(bundle: Path, label: str, verdict: str, role: str, permission: Permission, refused: str) -> None:
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.storage import open_store

    facts = {
        "bundle": bundle.name,
        "verdict": verdict,
        "variant": role,
        "refused": refused,
        "reason": permission.reason,
    }
    log = AuditLog(open_store(permission.store or None))
    log.append("serve_forced", label, facts, datetime.now(UTC), current_actor(permission.by))
