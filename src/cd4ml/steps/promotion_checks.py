"""What has to hold before a bundle goes to another environment: looked at before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.errors import GateRejected, UsageError
from cd4ml.steps.approval import approval_policy

if TYPE_CHECKING:
    from cd4ml.adapters.environment import Environment
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.adapters.storage import Storage
    from cd4ml.domain.approval import Standing

__all__ = ["check_keys", "check_surprise", "check_verdict", "needed_approval", "standings"]

_CHAMPION = "champion"


def check_verdict(version: ModelVersion, there: ModelVersion | None) -> None:
    """Refuse a version that the judge did not let through, here or in the environment that has it already."""
    if version.verdict not in ("accept", "needs_approval"):
        raise GateRejected(
            f"{version.name}@{version.version} has the verdict '{version.verdict or 'none'}', not 'accept':"
            " it is not promoted. Run the gates again and push it with its verdict"
        )
    if there and there.verdict != version.verdict:
        raise GateRejected(
            f"the verdict on {version.name}@{version.version} is '{version.verdict}' here, and the target has"
            f" the same bundle as version {there.version} with '{there.verdict or 'none'}': somebody pushed"
            " it there without this verdict. Judge it again, so that it is another bundle"
        )


def check_keys(environment: Environment, keys: Sequence[str] | None) -> None:
    """Refuse where the environment could not believe the bundle, or what we write into its audit log.

    Parameters
    ----------
    keys : sequence of str or None
        The keys that the target trusts; None for those of CD4ML_VERIFY_KEY.
    """
    from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, configured_keys, sign_message, signature_of
    from cd4ml.adapters.storage.target import VERIFY_KEY_OF_TARGET

    theirs = configured_keys() if keys is None else keys
    if environment.signed and not theirs:
        raise UsageError(
            f"the environment '{environment.name}' takes signed bundles alone; set {VERIFY_KEY_OF_TARGET} to"
            " the keys that it trusts"
        )
    for variable, trusted in ((VERIFY_KEY_OF_TARGET, theirs), (VERIFY_KEY, configured_keys())):
        if not trusted:
            continue
        if not os.environ.get(SIGNING_KEY):
            raise UsageError(f"{variable} is set, so what we write must be signed; set {SIGNING_KEY}")
        if signature_of(b"promotion", sign_message(b"promotion"), trusted).state != "valid":
            raise UsageError(
                f"{SIGNING_KEY} is not the key of anybody in {variable}: what we write into the audit log"
                " would not count. Add its public key there, or sign with one that is trusted"
            )


def check_surprise(source: Registry, target: Registry, version: ModelVersion, alias: str) -> None:
    """Refuse to put a version over a newer one, or over one that comes from elsewhere."""
    numbers = {one.bundle: one.version for one in source.versions(version.name)}
    aliases = target.aliases(version.name)
    for which in dict.fromkeys((alias, _CHAMPION)):
        if which not in aliases:
            continue
        there = target.get(version.name, aliases[which])
        known = numbers.get(there.bundle)
        if known is not None and known <= version.version:
            continue
        found = f"'{which}' of the target is version {there.version} (bundle {there.bundle[:12]}), which "
        found += "never was in this store" if known is None else f"is version {known} here"
        raise UsageError(
            f"{version.name}@{version.version} would go beside or over something newer: {found}. Promote a"
            " later version, or say --allow-downgrade with a --reason"
        )


def needed_approval(
    bundle: Path, version: ModelVersion, environment: Environment, stand: tuple[Standing, Standing]
) -> bool:
    """Return whether a person must still approve in the target; refuse what a person rejected.

    Parameters
    ----------
    stand : (Standing, Standing)
        What people decided where the bundle comes from, and in the target itself.

    Raises
    ------
    GateRejected
        If somebody rejected it, or an approval is needed that no one gave.
    """
    here, there = stand
    for one, where in ((here, "this store"), (there, "the target")):
        if one.state == "rejected":
            raise GateRejected(f"{one.reason}, in {where}: it is not promoted. Ask for a new approval")
    if environment.approval == "here":
        return there.state != "approved"
    asked = version.verdict == "needs_approval" or environment.approval == "always"
    if asked and "approved" not in (here.state, there.state):
        why = "the verdict is 'needs_approval'"
        if version.verdict == "accept":
            why = f"the environment '{environment.name}' takes no bundle without an approval"
        valid = approval_policy(bundle).valid_days
        raise GateRejected(
            f"{version.name}@{version.version}: {why}, and {here.reason}. Ask for `cd4ml models approve"
            f" {version.name}@{version.version}`, which holds for {valid:g} days"
        )
    return False


def standings(
    source: Storage, target: Storage, bundle: Path, identity: str, now: datetime, keys: Sequence[str] | None
) -> tuple[Standing, Standing]:
    """Return what people decided on a bundle in the source, and in the target itself."""
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.domain.approval import standing

    policy = approval_policy(bundle)
    here = Approvals(source).standing(identity, now, policy)
    if here.state == "approved":
        Approvals(source, keys).records(identity)  # who approved must be trusted in the target too
    decisions = Approvals(target, keys)
    # A decision that was carried there is in a line by whoever promoted; see `promote`.
    lines = zip(decisions.records(identity), decisions.lines(identity), strict=True)
    own = [decided for decided, line in lines if line.by == decided.by]
    return here, standing(own, identity, now, policy)
