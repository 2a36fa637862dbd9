"""Move an alias of the registry, held to verdict and approval, and told in the audit log."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from cd4ml.errors import Cd4mlError, GateRejected, UsageError
from cd4ml.steps.approval import require_approval

if TYPE_CHECKING:
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.registry import AliasChange, Registry

__all__ = ["move_alias", "told_move"]


def move_alias(
    name: str,
    alias: str,
    ref: str | None,
    *,
    expected: int | EllipsisType | None = ...,
    reason: str = "",
    by: str = "",
    force: bool = False,
    store: str = "",
) -> AliasChange:
    """Move an alias to a version that may be used, or take it away.

    Parameters
    ----------
    ref : str or None
        The version, by number or alias; None takes the alias away.
    expected : int, None or ...
        As in `Registry.set_alias`.
    force : bool
        Also to a version that the judge or a person did not let through; that needs a reason.

    Raises
    ------
    GateRejected
        If the verdict is not `accept`, and not `needs_approval` with an approval that stands; or if a person
        rejected the bundle.
    IntegrityError
        If a byte of the bundle, or the audit log, was changed.
    """
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store

    storage = open_store(store or None)
    registry, log, who = Registry(storage), AuditLog(storage), current_actor(by)
    to, facts = None, {"alias": alias, "from": registry.aliases(name).get(alias), "reason": reason}
    if ref is not None:
        version = registry.get(name, ref)
        to = version.version
        facts |= {"bundle": version.bundle, "verdict": version.verdict}
        if force and not reason.strip():
            raise UsageError("--force needs a --reason; it is kept in the history")
        if not force:
            _require(registry, name, to, version.verdict, store)
    facts |= {"to": to, "forced": force}
    return told_move(registry, log, name, alias, facts, expected=expected, reason=reason, who=who)


def told_move(
    registry: Registry,
    log: AuditLog,
    name: str,
    alias: str,
    facts: Mapping[str, Any],
    *,
    expected: int | EllipsisType | None,
    reason: str,
    who: str,
) -> AliasChange:
    """Move an alias to the version `facts["to"]` and tell `facts` in the audit log, also when it fails.

    Raises
    ------
    ConflictError
        If the alias does not name `expected` any more.
    """
    # Told first: a move that the log could not tell must not happen.
    log.append("alias", name, facts, datetime.now(UTC), who)
    try:
        return registry.set_alias(name, alias, facts["to"], expected, reason=reason, by=who)
    except Cd4mlError as error:
        log.append("alias_not_moved", name, {"alias": alias, "why": str(error)}, datetime.now(UTC), who)
        raise


def _require(registry: Registry, name: str, version: int, verdict: str, store: str) -> None:
    if verdict not in ("accept", "needs_approval"):
        raise GateRejected(
            f"{name}@{version} has the verdict '{verdict or 'none'}', not 'accept': no alias moves to it."
            " Run the gates again, or say --force with a --reason"
        )
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        bundle = registry.pull(name, version, Path(folder) / "bundle")
        try:
            require_approval(bundle, verdict, store)
        except GateRejected as error:
            raise GateRejected(f"{name}@{version}: {error}, or say --force with a --reason") from error
