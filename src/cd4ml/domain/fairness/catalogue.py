"""All measures of bias by name, and which of them may reject a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cd4ml.domain.fairness.benefits import BENEFITS
from cd4ml.domain.fairness.distances_between import SCORE_DISTANCES
from cd4ml.domain.fairness.errors import ERRORS
from cd4ml.domain.fairness.measure import Measure, Sample, Stage
from cd4ml.domain.fairness.pretraining import PRETRAINING
from cd4ml.domain.fairness.rates import RATES
from cd4ml.domain.fairness.strata import STRATIFIED
from cd4ml.errors import NotFoundError, UsageError, nearest

__all__ = ["CATALOGUE", "DEFAULT_BLOCKING", "blocking", "default_blocking", "find", "measures"]

CATALOGUE: Mapping[str, Measure] = MappingProxyType(
    {m.name: m for m in (*RATES, *BENEFITS, *ERRORS, *SCORE_DISTANCES, *STRATIFIED, *PRETRAINING)}
)

# Where base rates differ, equal selection rates exclude equal error rates and equal precision (Kleinberg,
# Mullainathan, Raghavan, 2016; Chouldechova, 2017): if both blocked, no model could pass. The one that blocks
# is the one that the four-fifths rule is about; a problem names others in `bias.block`.
DEFAULT_BLOCKING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"classification": ("selection_rate",), "regression": ("wape", "predicted_to_actual")}
)


def default_blocking(task: str, primary: str) -> tuple[str, ...]:
    """Return the measures that block by default: those of the task, with the primary metric as the error.

    Parameters
    ----------
    task : {"classification", "regression"}
    primary : str
        The metric that models are chosen by. Where it is an error that slices can be held to, it takes wape's
        place.
    """
    usual = DEFAULT_BLOCKING[task]
    measure = CATALOGUE.get(primary)
    if measure is None or measure.compare != "error_ratio" or "wape" not in usual:
        return usual
    return tuple(primary if name == "wape" else name for name in usual)


def blocking(task: str, chosen: Sequence[str] | None = None, primary: str = "") -> frozenset[str]:
    """Return the names of the measures that may reject a model: those chosen, or the default.

    Parameters
    ----------
    chosen : sequence of str, optional
        Names or aliases, as `bias.block` of a problem has them. An empty one blocks nothing.

    Raises
    ------
    NotFoundError
        If there is no measure of a name: a slip of the pen must not leave the gate open.
    UsageError
        If a measure is of another task, of before training, or never judged.
    """
    names = default_blocking(task, primary) if chosen is None else chosen
    found = [find(name) for name in names]
    for name, measure in zip(names, found, strict=True):
        if task not in measure.tasks or measure.stage != "post" or not measure.judged:
            able = ", ".join(m.name for m in measures(task, "post") if m.judged)
            raise UsageError(f"bias.block may name, for {task}, any of {able}; found '{name}'")
    return frozenset(measure.name for measure in found)


def measures(task: str, stage: Stage, sample: Sample | None = None) -> list[Measure]:
    """Return the measures of a task and stage; with a sample, those alone that it has the data for."""
    found = [m for m in CATALOGUE.values() if m.stage == stage and task in m.tasks]
    return found if sample is None else [m for m in found if m.applies(sample)]


def find(name: str) -> Measure:
    """Return the measure of that name or alias (in any case), or raise NotFoundError with the nearest."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    for measure in CATALOGUE.values():
        if name.lower() in (alias.lower() for alias in measure.aliases):
            return measure
    near = nearest(name, CATALOGUE)
    raise NotFoundError(f"measure must be one of {', '.join(CATALOGUE)}; found '{name}'{near}")
