"""Two environments, a version in the first of them, and the keys of those who work there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.audit_line import AuditLine
from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair, sign
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.target import VERIFY_KEY_OF_TARGET
from tests.adapters.s3_server import environment
from tests.steps.governed import make_governed

NAME = "bike-demand"
NO_KEYS: dict[str, str | None] = dict.fromkeys((SIGNING_KEY, VERIFY_KEY, VERIFY_KEY_OF_TARGET))


def pushed(
    storage: Storage, folder: Path, model: str = "a model", decision: str = "accept", **policy: Any
) -> ModelVersion:
    """Register a bundle in a store, with verdict and metrics; signed where a key is set."""
    import os

    bundle = make_governed(folder / model.replace(" ", "-"), model, decision, **policy)
    if os.environ.get(SIGNING_KEY):
        sign(bundle)
    return Registry(storage).push(bundle, NAME, verdict=decision)


def lines(storage: Storage, kind: str) -> list[AuditLine]:
    """Return the lines of one kind in a store's audit log, the whole of which must hold."""
    return [line for line in AuditLog(storage).lines() if line.kind == kind]


class Person:
    """Somebody with a key pair."""

    def __init__(self) -> None:
        self.private, self.public = generate_keypair()

    def works(self, trusts: str | None = None, target_trusts: str | None = None) -> Any:
        """Set the environment to this person's key, and the keys that the two stores trust."""
        return environment(
            **{SIGNING_KEY: self.private, VERIFY_KEY: trusts, VERIFY_KEY_OF_TARGET: target_trusts}
        )
