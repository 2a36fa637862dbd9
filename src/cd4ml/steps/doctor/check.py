"""What a check of `cd4ml doctor` is: where it belongs, who needs it, and how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cd4ml.domain.checkup import Answer, Use

__all__ = ["ALL", "HERE", "Check", "Settings"]

ALL: frozenset[Use] = frozenset(("laptop", "containers", "cluster", "ci"))
HERE: frozenset[Use] = frozenset(("laptop", "containers"))
"""Uses that train and serve on this machine."""


@dataclass(frozen=True)
class Settings:
    """Where to look.

    Attributes
    ----------
    store : str
        A folder or s3://bucket/prefix; "" for CD4ML_STORE or the default.
    kfp_host, prometheus : str
        URLs; "" for none.
    kubeconfig, context : Path or None, str
        Which cluster; None and "" for that of this pod, or the usual one.
    namespace : str
        Where models are served.
    gateway : str
        "NAMESPACE/NAME" of the Gateway that our routes are attached to; "" for any.
    ports : tuple of int
        Ports that must be free.
    folder : Path
        Whose disk is looked at.
    limit_seconds : float
        Of one check.
    """

    use: Use = "laptop"
    store: str = ""
    kfp_host: str = ""
    prometheus: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = "cd4ml"
    gateway: str = ""
    system_namespace: str = "kserve"
    ports: tuple[int, ...] = ()
    folder: Path = field(default_factory=Path.cwd)
    limit_seconds: float = 20.0


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes
    ----------
    look : callable
        Returns what it found. A `Cd4mlError` that it raises is a failure as well; with `fix` where its
        message does not say what to do.
    uses : frozenset of str
        Uses that cannot do without.
    """

    area: str
    name: str
    look: Callable[[], Answer]
    uses: frozenset[Use] = frozenset()
    fix: str = ""
