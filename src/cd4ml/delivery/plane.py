"""Where traffic flows: what a service shall be, what it is, and the two verbs of every plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from cd4ml.errors import IntegrityError, UsageError

__all__ = ["VARIANTS", "DesiredService", "ObservedService", "ObservedVariant", "Plane", "Variant"]

VARIANTS = ("stable", "canary", "shadow")
_STICKY = ("header", "cookie")
_SIGNS = "!#$%&'*+-.^_`|~"


@dataclass(frozen=True)
class Variant:
    """One version of a model in a role.

    Attributes
    ----------
    reference : str
        As somebody named it, e.g. "bike-demand@champion"; for people alone.
    version : str
        What answers call it, e.g. "5".
    bundle : str
        The id of the bundle: a hash of its content. Two variants are the same if bundle, version and history
        are.
    location : str
        Where its files are: a folder here, a storage URI on a cluster.
    history : str
        Where its history table is; "" for the one in the bundle.
    """

    reference: str
    version: str
    bundle: str
    location: str
    history: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two variants the same."""
        return self.bundle, self.version, self.history


@dataclass(frozen=True)
class DesiredService:
    """What a service shall be.

    Attributes
    ----------
    stable : Variant
        Answers all that the canary does not.
    canary_percent : float
        Share of the requests that the canary answers, 0 to 100 in steps of 0.01; with 0 it answers only those
        that ask for it.
    mirror_percent : float
        Share of the requests of which the shadow gets a copy, 0 to 100 in steps of 0.01.
    sticky : str
        "header:NAME" or "cookie:NAME": equal values go to the same variant, and who is with the canary stays
        with it while its share grows. "": each request by chance.
    salt : str
        Mixed with the sticky value; with another salt other callers meet the canary first.
    fence : int
        Grows with each holder of the lease; what has a lower one than is recorded comes from a controller
        that was replaced, and is refused. It is no part of what the service is.
    """

    service: str
    stable: Variant
    canary: Variant | None = None
    shadow: Variant | None = None
    canary_percent: float = 0.0
    mirror_percent: float = 0.0
    sticky: str = ""
    salt: str = ""
    fence: int = 0

    def __post_init__(self) -> None:
        for word, percent, variant in (
            ("canary", self.canary_percent, self.canary),
            ("shadow", self.mirror_percent, self.shadow),
        ):
            _check_percent(word, percent)
            if percent and variant is None:
                raise UsageError(
                    f"the {word} of '{self.service}' shall get {percent:g} % of the requests, and there is"
                    " none; name its model or give it 0 %"
                )
        _check_sticky(self.sticky)

    @property
    def variants(self) -> dict[str, Variant]:
        """The variants that there are, by name, stable first."""
        found = {name: getattr(self, name) for name in VARIANTS}
        return {name: variant for name, variant in found.items() if variant is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> DesiredService:
        """Return what `to_dict` wrote; raises IntegrityError for anything else."""
        values = dict(document)
        try:
            for name in VARIANTS:
                values[name] = Variant(**values[name]) if values.get(name) else None
            if values["stable"] is None:
                raise KeyError("stable")
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise IntegrityError(f"this is no desired state of a service: {error}") from error


@dataclass(frozen=True)
class ObservedVariant:
    """One variant as it is.

    Attributes
    ----------
    version, bundle : str
        What its servers say that they serve; "" until they said so.
    phase : str
        "starting", "ready", "waiting" (it crashed and is started again soon), "draining".
    ready : bool
        It answers, and all of its workers have the version that is wanted.
    restarts : int
        How often it crashed and was started again.
    last_exit, last_exit_at : str
        How and when (UTC) it ended last, e.g. "signal 9 (SIGKILL)"; "" if it never did.
    error : str
        Why it does not serve what it shall; "" if nothing is wrong.
    """

    name: str
    reference: str = ""
    version: str = ""
    bundle: str = ""
    phase: str = "starting"
    ready: bool = False
    url: str = ""
    pid: int = 0
    restarts: int = 0
    last_exit: str = ""
    last_exit_at: str = ""
    error: str = ""


@dataclass(frozen=True)
class ObservedService:
    """What a service is.

    Attributes
    ----------
    generation : int
        Which desired state was last looked at.
    converged : bool
        All of that desired state is true: versions loaded by each worker, routes taken by the gateway.
    canary_percent, mirror_percent : float
        As the gateway has them.
    problems : tuple of str
        What is wrong, one line each.
    """

    service: str
    generation: int = 0
    converged: bool = False
    url: str = ""
    canary_percent: float = 0.0
    mirror_percent: float = 0.0
    variants: tuple[ObservedVariant, ...] = ()
    problems: tuple[str, ...] = ()

    def variant(self, name: str) -> ObservedVariant | None:
        """Return one of its variants, or None."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ObservedService:
        """Return what `to_dict` wrote; raises IntegrityError for anything else."""
        known = {field.name for field in fields(cls)}
        try:
            values = {name: value for name, value in document.items() if name in known}
            values["variants"] = tuple(ObservedVariant(**one) for one in document.get("variants", ()))
            values["problems"] = tuple(document.get("problems", ()))
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise IntegrityError(f"this is no observed state of a service: {error}") from error


class Plane(Protocol):
    """Where traffic flows. Both verbs may be called at any time, by several callers, again and again."""

    def observe(self, service: str) -> ObservedService:
        """Return what a service is now; raises NotFoundError for one that is not there."""
        ...

    def apply(self, service: str, desired: DesiredService) -> None:
        """Make `desired` what the service shall be; doing so twice is doing so once.

        It returns when that is recorded, not when it is true: `observe` says when.

        Raises
        ------
        ConflictError
            If somebody with a higher fence asked already.
        """
        ...


def _check_percent(word: str, percent: float) -> None:
    hundredths = percent * 100
    if not 0 <= percent <= 100 or abs(hundredths - round(hundredths)) > 1e-6:
        raise UsageError(f"the {word}'s share must be 0 to 100 % in steps of 0.01; got {percent}")


def _check_sticky(sticky: str) -> None:
    if not sticky:
        return
    kind, _, name = sticky.partition(":")
    plain = bool(name) and all(letter.isascii() and (letter.isalnum() or letter in _SIGNS) for letter in name)
    if kind not in _STICKY or not plain:
        raise UsageError(f"--sticky must be 'header:NAME' or 'cookie:NAME'; got '{sticky}'")
