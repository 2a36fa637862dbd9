"""Could a champion be released again now? It is served from the store alone, on a plane of its own."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import Cd4mlError, ConflictError, NotFoundError, ServiceError

if TYPE_CHECKING:
    from cd4ml.adapters.registry import Registry
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import Variant
    from cd4ml.models.endpoint import EndpointReport

__all__ = ["CHAMPION", "STAGES", "ReleaseCheck", "check_release", "release_exit_code", "releases"]

CHAMPION = "champion"
STAGES = ("fetch", "start", "verify", "smoke", "stop")
_SMOKE_ROWS = 5
_STOP_SECONDS = 30.0
_REQUEST_SECONDS = 30.0
"""A machine that is busy is no model that fails."""


@dataclass(frozen=True)
class ReleaseCheck:
    """What came of releasing one version again.

    Attributes
    ----------
    model, ref : str
        As they were asked for, e.g. "bike-demand" and "champion".
    version, bundle : str
        What that is; "" when the registry could not say.
    seconds : dict
        Stage -> how long it took; only stages that were begun.
    sentence : str
        What the replay of the holdout found; "" when it did not come to that.
    failed : str
        The stage that failed; "" for none.
    reason : str
        Why it failed.
    exit_code : int
        0; 3 when it does not serve what was judged; 6 when the store cannot be reached, or no plane started.
    """

    model: str
    ref: str
    version: str = ""
    bundle: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    sentence: str = ""
    failed: str = ""
    reason: str = ""
    exit_code: int = 0

    @property
    def passed(self) -> bool:
        """Whether it serves what was judged."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "passed": self.passed}


@dataclass
class _Stages:
    """How long each stage takes, and which one is under way."""

    report: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)
    now: str = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.now = name
        self.report(name)
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - start, 3)


class _EndpointDiffers(Cd4mlError):
    """What is served is not what was judged."""


class _NoPlane(ServiceError):
    """Envoy or its supervisor did not start."""


def releases(
    registry: Registry, named: Sequence[tuple[str, str]] = (), every: bool = False
) -> list[tuple[str, str]]:
    """Return (model, alias or version) of what shall be checked.

    Parameters
    ----------
    named : sequence of (str, str)
        These; every champion when there are none.
    every : bool
        Everything that has an alias, and not champions alone.

    Raises
    ------
    NotFoundError
        If one of `named` does not exist, or no model has a champion.
    """
    if named:
        for model, ref in named:
            registry.get(model, ref)
        return list(named)
    found = [
        (model, alias)
        for model in registry.models()
        for alias in registry.aliases(model)
        if every or alias == CHAMPION
    ]
    if not found:
        raise NotFoundError(
            "the registry has no champion, so that there is nothing to release; name one with"
            " `cd4ml models alias MODEL champion VERSION`"
        )
    return found


def check_release(
    model: str,
    ref: str = CHAMPION,
    *,
    store: str = "",
    timeout_seconds: float = 120.0,
    report: Callable[[str], None] = lambda stage: None,
) -> ReleaseCheck:
    """Fetch a version from the store to a new folder, serve it, hold it against its holdout, take it down.

    Nothing of an earlier run takes part: the plane, its processes and its folder are new, and are gone at
    the end. Hashes, signature, verdict and approval are held as `cd4ml serve` holds them.

    Parameters
    ----------
    ref : str
        An alias, a version's number or "latest".
    store : str
        "" for the default one.
    report : callable
        Told each stage when it begins.

    Raises
    ------
    UsageError
        If there is no Envoy here.
    """
    from cd4ml.adapters.envoy import find_envoy

    find_envoy()
    stages, found = _Stages(report), ReleaseCheck(model, ref)
    with tempfile.TemporaryDirectory(prefix="cd4ml-release-") as folder:
        try:
            with stages.stage("fetch"):
                variant = _fetched(model, ref, Path(folder), store)
            found = replace(found, version=variant.version, bundle=variant.bundle)
            replayed = _served(variant, model, Path(folder), stages, timeout_seconds)
            found = replace(found, rows=replayed.rows, sentence=replayed.sentence)
        except (Cd4mlError, OSError) as error:
            reason = " ".join(str(error).split())
            code = _code(stages.now, error)
            found = replace(found, failed=stages.now, reason=reason, exit_code=code)
    return replace(found, seconds=stages.seconds)


def release_exit_code(found: Sequence[ReleaseCheck]) -> int:
    """Return 3 if something does not serve what was judged, else 6 if something could not be looked at."""
    codes = {one.exit_code for one in found}
    return next((code for code in (3, 6) if code in codes), 0)


def _code(stage: str, error: Exception) -> int:
    """Return 6 where store or machine kept it from being looked at, 3 where the model is at fault."""
    if isinstance(error, _NoPlane):
        return ServiceError.exit_code
    away = isinstance(error, ServiceError) and not isinstance(error, ConflictError)
    return ServiceError.exit_code if stage == "fetch" and away else 3


def _fetched(model: str, ref: str, folder: Path, store: str) -> Variant:
    from cd4ml.steps.serve import Permission, fetch_variant

    return fetch_variant((model, ref), folder / "bundles", "stable", Permission(store=store))[1]


def _served(
    variant: Variant, model: str, folder: Path, stages: _Stages, timeout_seconds: float
) -> EndpointReport:
    """Serve a variant, and return how its endpoint compares with its holdout; the plane ends in any case."""
    from cd4ml.adapters.envoy import GatewaySettings
    from cd4ml.delivery.local.background import start_in_background
    from cd4ml.delivery.local.model_server import ServerSettings
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.local.supervisor import PlaneSettings
    from cd4ml.delivery.plane import DesiredService
    from cd4ml.models.endpoint import compare_endpoint

    plane = LocalPlane(folder / "plane")
    plane.apply(model, DesiredService(model, variant))
    try:
        with stages.stage("start"):
            try:
                start_in_background(
                    plane, PlaneSettings(GatewaySettings(), ServerSettings()), timeout_seconds
                )
            except ServiceError as error:
                raise _NoPlane(str(error)) from error
            url = _ready(plane, model, timeout_seconds)
        address = f"{url.rstrip('/')}/v1/models/{model}"
        with stages.stage("verify"):
            found = compare_endpoint(address, Path(variant.location), timeout_seconds=_REQUEST_SECONDS)
            if not found.agrees:
                raise _EndpointDiffers(found.sentence)
        with stages.stage("smoke"):
            _smoke(url.rstrip("/"), model, Path(variant.location))
    except BaseException:
        with suppress(Cd4mlError):  # what went wrong before is told
            plane.stop(_STOP_SECONDS)
        raise
    with stages.stage("stop"):
        plane.stop(_STOP_SECONDS)
    return found


def _ready(plane: LocalPlane, model: str, timeout_seconds: float) -> str:
    """Return where the gateway is, once the model is ready."""
    try:
        return plane.wait(model, timeout_seconds).url
    except ServiceError as error:
        # The plane's own advice is to look at it, and it is gone soon.
        wrong = [one.error for one in plane.observe(model).variants if one.error]
        raise ServiceError(f"it does not start: {'; '.join(wrong)}" if wrong else str(error)) from error


def _smoke(url: str, model: str, bundle: Path) -> None:
    """See that it is ready, speaks the other protocol too, and refuses what is no row of its contract."""
    import numpy as np

    from cd4ml.adapters.inference import InferenceClient
    from cd4ml.models.form_parity import TOLERANCE
    from cd4ml.models.runtime import holdout_rows

    contract = json.loads((bundle / "contract.json").read_bytes())
    kinds = {name: one["kind"] for name, one in contract["inputs"]["properties"].items()}
    rows = holdout_rows(bundle)[:_SMOKE_ROWS]
    with InferenceClient(f"{url}/v2/models/{model}", model, "v2", kinds, _REQUEST_SECONDS) as client:
        answer = client.predict(rows)
    said = answer.outputs.get("prediction")
    expected = np.load(bundle / "holdout" / "prediction.npy", allow_pickle=False)[: len(rows)]
    found = np.asarray(said if said is not None else [], dtype=np.float64)
    if answer.refusal or found.shape != expected.shape:
        raise _EndpointDiffers(f"V2 does not answer {len(rows)} rows: {answer.refusal or said}")
    if np.any(np.abs(found - expected) > TOLERANCE * np.maximum(1.0, np.abs(expected))):
        raise _EndpointDiffers(f"V2 answers {found.tolist()}; judged was {expected.tolist()}")
    with InferenceClient(f"{url}/v1/models/{model}", model, "v1", kinds, _REQUEST_SECONDS) as client:
        strange = client.predict([{**rows[0], "cd4ml_no_such_field": 1}])
    if "cd4ml_no_such_field" not in strange.refusal:
        raise _EndpointDiffers(
            "a row with a field that is none of the contract must be refused by its name; found"
            f" '{strange.refusal or 'an answer'}'"
        )
