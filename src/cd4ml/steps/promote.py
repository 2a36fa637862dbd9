"""Bring a bundle from one environment's store to another's: the same bytes, looked at before and after.

Nothing is built or judged anew. Whatever is written is written once: a promotion that was killed anywhere, or
is asked for again, goes on where it was, and both audit logs tell of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from cd4ml.errors import ConflictError, GateRejected, UsageError
from cd4ml.steps.alias import told_move
from cd4ml.steps.promotion_checks import check_keys, check_surprise, check_verdict, needed_approval, standings

if TYPE_CHECKING:
    from cd4ml.adapters.environment import Environment
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.domain.approval import Standing

__all__ = ["Promotion", "promote"]


@dataclass(frozen=True)
class Promotion:
    """What a promotion did, or would do.

    Attributes
    ----------
    state : str
        "promoted"; "unchanged", if all of it was done before; "planned", if nothing was to be written.
    model, bundle : str
        What was promoted; a bundle's id stands for each of its bytes.
    version, to_version : int, int or None
        Its number in the store it comes from, and in the target (None: a number that is yet to be given).
    to : str
        Where the bundle is in the target.
    alias, alias_from : str, int or None
        What names it there, and which version the alias named before.
    steps : tuple of str
        What was written, or would be, in this order.
    """

    state: Literal["promoted", "unchanged", "planned"]
    model: str
    bundle: str
    version: int
    to_version: int | None
    to: str
    alias: str
    alias_from: int | None
    steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "steps": list(self.steps)}


@dataclass(frozen=True)
class _Work:
    """What is known when everything was looked at and nothing was written."""

    source: Registry
    target: Registry
    version: ModelVersion
    there: ModelVersion | None
    environment: Environment
    stand: tuple[Standing, Standing]
    keys: Sequence[str] | None
    bundle: Path
    ask: bool
    alias: str
    alias_from: int | None
    reason: str
    by: str


def promote(
    model: str,
    ref: str,
    to: str,
    *,
    alias: str = "challenger",
    expected: int | EllipsisType | None = ...,
    reason: str = "",
    by: str = "",
    allow_downgrade: bool = False,
    dry_run: bool = False,
    store: str = "",
) -> Promotion:
    """Copy a version's bundle by its id to another store, and let an alias there name it.

    The target's endpoint, credentials and trusted keys come from CD4ML_TARGET_S3_ENDPOINT,
    CD4ML_TARGET_AWS_... and CD4ML_TARGET_VERIFY_KEY; ours where these are not set. Verdict, metrics, lineage
    and limits go with the version, the card with the bundle, and the lines of people's decisions with the
    target's audit log.

    Parameters
    ----------
    model, ref : str
        Name, and number, alias or "latest".
    to : str
        The target: a folder or s3://bucket/prefix.
    expected : int, None or ...
        What the alias must name in the target (None: nothing yet); by default what it names now.
    allow_downgrade : bool
        Also over a newer version; that needs a reason.
    dry_run : bool
        Look at everything and write nothing.

    Raises
    ------
    GateRejected
        If the verdict or a person did not let it through, or an approval is lacking. Where the target wants
        one of its own, the bundle is there by then, and no alias names it.
    IntegrityError
        If the bundle or a log was changed, or is not signed by a key that the target trusts.
    ConflictError
        If somebody else moved the alias meanwhile.
    UsageError
        If the target has something newer, or is the store itself.
    """
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        work = _look(model, ref, to, Path(folder), (alias, expected, reason, by), allow_downgrade, store)
        if dry_run:
            return _told(work, "planned", work.there.version if work.there else None, tuple(_plan(work)))
        return _carry_out(work, Path(folder))


def _look(
    model: str,
    ref: str,
    to: str,
    folder: Path,
    move: tuple[str, int | EllipsisType | None, str, str],
    allow_downgrade: bool,
    store: str,
) -> _Work:
    """Look at all that has to hold; nothing is written."""
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.environment import read_environment
    from cd4ml.adapters.registry import Registry, verify_bundle
    from cd4ml.adapters.signing import configured_keys
    from cd4ml.adapters.storage import open_store
    from cd4ml.adapters.storage.target import VERIFY_KEY_OF_TARGET, open_target

    alias, expected, reason, by = move
    source, target = Registry(open_store(store or None)), Registry(open_target(to))
    if source.storage.url("bundles") == target.storage.url("bundles") and _same_server(source, target):
        raise UsageError(f"'{to}' is the store that the bundle comes from; give another environment's")
    if allow_downgrade and not reason.strip():
        raise UsageError("--allow-downgrade needs a --reason; it is kept in the history")
    keys = configured_keys(VERIFY_KEY_OF_TARGET) or None
    version = source.get(model, ref)
    environment, aliases = read_environment(target.storage), target.aliases(model)
    there = next((one for one in target.versions(model) if one.bundle == version.bundle), None)
    check_verdict(version, there)
    check_keys(environment, keys)
    if not allow_downgrade:
        check_surprise(source, target, version, alias)
    if expected is not ... and aliases.get(alias) not in (expected, there and there.version):
        raise ConflictError(
            f"'{alias}' of the target names {aliases.get(alias) or 'no version'}, not {expected or 'none'}:"
            " somebody moved it. Look at its history and decide anew"
        )
    bundle = source.pull(model, version.version, folder / "bundle")
    verify_bundle(bundle, version.bundle, keys)
    stand = standings(source.storage, target.storage, bundle, version.bundle, datetime.now(UTC), keys)
    ask = needed_approval(bundle, version, environment, stand)
    return _Work(
        source,
        target,
        version,
        there,
        environment,
        stand,
        keys,
        bundle,
        ask,
        alias,
        aliases.get(alias),
        reason,
        current_actor(by),
    )


def _same_server(one: Registry, other: Registry) -> bool:
    return getattr(one.storage, "endpoint", "") == getattr(other.storage, "endpoint", "")


def _plan(work: _Work) -> list[str]:
    """Return what is left to do, in the order in which it is done."""
    steps = []
    if work.there is None:
        steps += [f"copy the bundle {work.version.bundle[:12]}", "register it as a new version"]
    if _log_lines(work.target, "promotion", work.version.bundle, _brought(work)) == 0:
        steps.append("tell the promotion in the target's audit log")
    if _to_carry(work):
        steps.append("carry the approval")
    if work.ask:
        return [*steps, "ask for an approval in the target"]
    if work.there is None or work.alias_from != work.there.version:
        steps.append(f"let '{work.alias}' name it")
    if work.there is None or _log_lines(work.source, "promoted", work.version.bundle, _sent(work)) == 0:
        steps.append("tell the promotion in our audit log")
    return steps


def _carry_out(work: _Work, folder: Path) -> Promotion:
    """Write what is lacking in the target. Each part is done once, and may have been done before."""
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.registry import verify_bundle

    steps = tuple(_plan(work))
    target, version, now = work.target, work.version, datetime.now(UTC)
    log = AuditLog(target.storage)
    target.upload(work.bundle)
    target.storage.download(f"bundles/{version.bundle}", folder / "arrived")
    verify_bundle(folder / "arrived", version.bundle, work.keys)
    # Told before a version names it: there is none of whose origin the log knows nothing.
    _append(target, "promotion", version.bundle, _brought(work), now, work.by)
    record = {part: getattr(version, part) for part in ("git", "limits", "lineage", "metrics", "verdict")}
    there = target.register(version.name, work.bundle, record)
    if there.verdict != version.verdict:
        check_verdict(version, there)
    if decided := _to_carry(work):
        # By another name than who decided: it is not a decision of the target's own.
        log.append("approval", version.bundle, decided.to_dict(), now, f"promotion by {work.by}")
    if work.ask:
        raise _waits(work, there, now)
    if work.alias_from != there.version:
        _move(work, there)
    _append(work.source, "promoted", version.bundle, _sent(work, there.version), now, work.by)
    return _told(work, "promoted" if steps else "unchanged", there.version, steps)


def _move(work: _Work, there: ModelVersion) -> None:
    from cd4ml.adapters.audit import AuditLog

    facts = {
        "alias": work.alias,
        "bundle": there.bundle,
        "forced": False,
        "from": work.alias_from,
        "reason": work.reason,
        "to": there.version,
        "verdict": there.verdict,
    }
    try:
        told_move(
            work.target,
            AuditLog(work.target.storage),
            there.name,
            work.alias,
            facts,
            expected=work.alias_from,
            reason=work.reason or f"promoted from version {work.version.version} of another environment",
            who=work.by,
        )
    except ConflictError:
        # Somebody who promotes the same bundle was first: then it is done.
        if work.target.aliases(there.name).get(work.alias) != there.version:
            raise


def _waits(work: _Work, there: ModelVersion, now: datetime) -> GateRejected:
    """Ask for a decision in the target and return what to tell whoever promotes."""
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.steps.approval import approval_policy

    name = f"{there.name}@{there.version}"
    policy = approval_policy(work.bundle)
    Approvals(work.target.storage).ask(there.bundle, model=name, now=now, policy=policy, by=work.by)
    where = work.environment.name or "the target"
    return GateRejected(
        f"{name} is in '{where}', where no alias names it yet: it takes no bundle without an approval of its"
        f" own. Ask for `cd4ml models approve {name}` with CD4ML_STORE of '{where}', then promote again"
    )


def _to_carry(work: _Work) -> Any:
    """Return the decision that the target needs and has not got; None if there is none."""
    from cd4ml.adapters.approvals import Approvals

    here, there = work.stand
    if work.environment.approval == "here" or here.state != "approved" or there.state == "approved":
        return None
    known = Approvals(work.target.storage, work.keys).records(work.version.bundle)
    return None if here.decision in known else here.decision


def _brought(work: _Work) -> dict[str, Any]:
    """Return what the target's log tells: where the bundle is from, and who decided there, word for word."""
    from cd4ml.adapters.approvals import Approvals

    version = work.version
    return {
        "approvals": [line.to_dict() for line in Approvals(work.source.storage).lines(version.bundle)],
        "created": version.created,
        "from": work.source.storage.url(f"bundles/{version.bundle}"),
        "git": version.git,
        "model": version.name,
        "verdict": version.verdict,
        "version": version.version,
    }


def _sent(work: _Work, to_version: int | None = None) -> dict[str, Any]:
    number = to_version or (work.there.version if work.there else None)
    where = work.target.storage.url(f"bundles/{work.version.bundle}")
    facts = {"alias": work.alias, "model": work.version.name, "to": where, "to_version": number}
    return {**facts, "environment": work.environment.name, "version": work.version.version}


def _append(
    registry: Registry, kind: str, subject: str, facts: Mapping[str, Any], now: datetime, by: str
) -> None:
    """Add a line to a registry's audit log, unless it has it already."""
    from cd4ml.adapters.audit import AuditLog

    if _log_lines(registry, kind, subject, facts) == 0:
        AuditLog(registry.storage).append(kind, subject, facts, now, by)


def _log_lines(registry: Registry, kind: str, subject: str, facts: Mapping[str, Any]) -> int:
    """Return how many lines of a log tell just this."""
    import json

    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.audit_line import canonical

    wanted = json.loads(canonical(facts))
    lines = AuditLog(registry.storage).lines()
    return sum(one.kind == kind and one.subject == subject and one.facts == wanted for one in lines)


def _told(
    work: _Work,
    state: Literal["promoted", "unchanged", "planned"],
    to_version: int | None,
    steps: tuple[str, ...],
) -> Promotion:
    version, where = work.version, work.target.storage.url(f"bundles/{work.version.bundle}")
    return Promotion(
        state,
        version.name,
        version.bundle,
        version.version,
        to_version,
        where,
        work.alias,
        work.alias_from,
        steps,
    )
