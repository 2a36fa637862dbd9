"""Why a prediction is what it is: its interval, what each feature adds, and what came before."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.domain.conformal import Intervals
from cd4ml.errors import IntegrityError
from cd4ml.features.calendar import NO_STEP
from cd4ml.features.columns import ColumnSet, texts
from cd4ml.features.panel import Panel
from cd4ml.features.plan import TARGET, CategoryFeature, Series
from cd4ml.features.transform import enrich, steps_of
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.explain.stored import CONTRIBUTIONS, StoredModel, load_stored
from cd4ml.models.runtime import Bundle
from cd4ml.serving.feature_words import describe_feature, describe_value

__all__ = ["LEVEL", "Explainer", "time_facts"]

LEVEL = 0.9
"""Share of values that shall lie in their intervals."""
_HISTORY_SECONDS = 56 * 86_400
_MOST_STEPS = 336
"""Of an hourly history two weeks are enough to see, and the answer stays small."""
_TOLERANCE = 1e-3
_DAY_SECONDS = 86_400
_Parts = str | Sequence[str | Mapping[str, Any]]
"""For each row what to say of it, or why there is nothing to say; or why there is nothing for any row."""


@dataclass(frozen=True)
class _Block:
    """The columns of the matrix that are one feature."""

    name: str
    columns: slice
    category: str
    """The column with its texts; "" for a number."""
    feature: Any
    words: str


class Explainer:
    """What one bundle says of its predictions.

    Files beside the model are read when they are first asked for, against the manifest that was verified.

    Parameters
    ----------
    bundle : Bundle
        With the history that it serves now.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._blocks = _blocks(bundle)

    @property
    def scale(self) -> str | None:
        """The scale on which contributions add up, see `contributions.raw_scale`; None without any."""
        return None if self._stored is None else self._stored.scale

    def explain(self, columns: ColumnSet, prediction: FloatArray) -> list[dict[str, Any]]:
        """Return for each row `interval`, `contributions` and `history`; None where there is none.

        `absent` says why. `base` and all contributions add up to `raw`; `typical` is the prediction that
        belongs to `base`.

        Parameters
        ----------
        columns : ColumnSet
            Checked rows.
        prediction : array of shape (n,)
            What was answered for them.
        """
        nothing = {"base": None, "typical": None, "raw": None}
        found: list[dict[str, Any]] = [{**nothing, "absent": {}} for _ in prediction]
        self._add(found, "interval", self._intervals_of(prediction))
        self._add(found, "contributions", self._contributions(columns, prediction))
        self._add(found, "history", self._histories(columns))
        return found

    @staticmethod
    def _add(found: list[dict[str, Any]], name: str, parts: _Parts) -> None:
        for row, one in enumerate(found):
            part = parts if isinstance(parts, str) else parts[row]
            if isinstance(part, str):
                one["absent"][name], one[name] = part, None
            else:
                one.update(part)

    def _read(self, name: str) -> bytes | None:
        """Return a file of the bundle as the manifest promises it; None where it has none."""
        promised = self.bundle.manifest["files"].get(name)
        if promised is None:
            return None
        data = (self.bundle.folder / name).read_bytes()
        if sha256_bytes(data) != promised["sha256"]:
            raise IntegrityError(
                f"bundle '{self.bundle.folder.name}': '{name}' was changed since it was loaded"
            )
        return data

    @cached_property
    def _stored(self) -> StoredModel | None:
        data = self._read(CONTRIBUTIONS)
        return None if data is None else load_stored(data)

    @cached_property
    def _intervals(self) -> Intervals | None:
        arrays = [self._read(f"holdout/{name}.npy") for name in ("prediction", "actual")]
        if None in arrays:
            return None
        predicted, actual = (np.load(io.BytesIO(data), allow_pickle=False) for data in arrays if data)
        least = self.bundle.contract["output"].get("minimum")
        return Intervals.fit(predicted, actual, LEVEL, minimum=least)

    def _intervals_of(self, prediction: FloatArray) -> _Parts:
        if self.bundle.problem.task == "classification":
            return "a probability says itself how sure the model is"
        if self._intervals is None:
            return f"the holdout has too few rows for a level of {LEVEL:g}"
        low, high = self._intervals.around(prediction)
        ends = zip(low.tolist(), high.tolist(), strict=True)
        return [{"interval": {"level": LEVEL, "low": a, "high": b}} for a, b in ends]

    def _contributions(self, columns: ColumnSet, prediction: FloatArray) -> _Parts:
        stored = self._stored
        if stored is None:
            return "this bundle has no file of contributions: its model has no exact ones, or it is of before"
        X = np.ascontiguousarray(self.bundle.features(columns))
        found = stored.contribute(X)
        raw = found.base + found.values.sum(axis=1)
        treatment = self.bundle.treatment
        if treatment is None or not treatment.needs_groups:
            apart = np.abs(stored.predict(raw) - prediction) / np.maximum(1, np.abs(prediction))
            if not (apart <= _TOLERANCE).all():
                return "the contributions do not add up to the prediction, so they are not shown"
        typical = float(stored.predict(np.array([found.base]))[0])
        shown = self._shown(columns, X)
        return [
            {
                "base": found.base,
                "typical": typical,
                "raw": float(raw[row]),
                "contributions": [
                    {
                        "feature": block.name,
                        "about": block.words,
                        "value": shown[block.name][row],
                        "contribution": float(found.values[row, block.columns].sum()),
                    }
                    for block in self._blocks
                ],
            }
            for row in range(len(X))
        ]

    def _shown(self, columns: ColumnSet, X: Matrix) -> dict[str, list[Any]]:
        """Return the values of each feature as people read them: texts of categories, numbers, None."""
        wanted = [block.category for block in self._blocks if block.category]
        named = enrich(self.bundle.plan, self.bundle.state, columns, wanted) if wanted else {}
        return {
            block.name: texts(named[block.category])
            if block.category
            else [
                describe_value(block.feature, None if np.isnan(value) else float(value))
                for value in X[:, block.columns.start]
            ]
            for block in self._blocks
        }

    def _histories(self, columns: ColumnSet) -> _Parts:
        plan, state = self.bundle.plan, self.bundle.state
        panel, time = _target_panel(self.bundle), plan.problem.time
        if panel is None or time is None:
            return "this model keeps no history of its target"
        by = tuple(plan.problem.entity)
        named = enrich(plan, state, columns, [*by, time.column])
        steps = steps_of(plan, state, named)
        members = state.groups[by].index.positions([named[name] for name in by], len(steps), {})
        pairs = zip(members.tolist(), steps.tolist(), strict=True)
        return [self._history(panel, member, step) for member, step in pairs]

    def _history(self, panel: Panel, member: int, step: int) -> dict[str, Any] | str:
        """Return the last weeks before a step, as far as they are known."""
        state = self.bundle.state
        if member < 0:
            return "there is no history of these values"
        if step == NO_STEP:
            return "the row has no time"
        end = min(state.last_step, panel.start + panel.steps - 1, step - 1)
        width = max(1, min(_HISTORY_SECONDS // state.step_seconds, _MOST_STEPS))
        first = max(panel.start, end - width + 1)
        if end < first:
            return "the history does not reach back to the weeks before"
        values = panel.block(member)[first - panel.start : end - panel.start + 1].astype(np.float64)
        history = {
            "of": self.bundle.problem.target.column,
            "step_seconds": state.step_seconds,
            "times": [_step_time(self.bundle, one) for one in range(first, end + 1)],
            "values": [None if np.isnan(value) else float(value) for value in values],
        }
        return {"history": history}


def _target_panel(bundle: Bundle) -> Panel | None:
    """Return the history of the target on its own scale by entity; None where the bundle keeps none."""
    plan = bundle.plan
    by = tuple(plan.problem.entity)
    for of in (TARGET, plan.problem.target.column):
        wanted = Series(of, by, "mean")
        if wanted in plan.series:
            return bundle.state.panels[plan.series.index(wanted)]
    return None


def _step_time(bundle: Bundle, step: int) -> str:
    """Return where a step begins, as a caller writes it."""
    state = bundle.state
    text = str(np.datetime64(state.origin_seconds + step * state.step_seconds, "s"))
    return text[:10] if state.step_seconds % _DAY_SECONDS == 0 and text.endswith("T00:00:00") else text


def _blocks(bundle: Bundle) -> tuple[_Block, ...]:
    found, start, vocabularies = [], 0, bundle.state.vocabularies
    for feature in bundle.plan.features:
        width, category = 1, ""
        if isinstance(feature, CategoryFeature):
            category = feature.column
            if feature.encoding == "one_hot":
                width = len(vocabularies[feature.name].texts) + 1
        words = describe_feature(bundle.plan, feature, bundle.state.step_seconds)
        place = slice(start, start + width)
        found.append(_Block(feature.name.rstrip("="), place, category, feature, words))
        start += width
    return tuple(found)


def time_facts(bundle: Bundle) -> Mapping[str, Any] | None:
    """Return when the history ends and which time comes next; None without time."""
    time, state = bundle.problem.time, bundle.state
    if time is None or not state.step_seconds:
        return None
    return {
        "field": time.column if time.column in bundle.inputs else None,
        "step_seconds": state.step_seconds,
        "horizon_steps": bundle.plan.horizon_steps,
        "history_end": _step_time(bundle, state.last_step),
        "next": _step_time(bundle, state.last_step + 1),
    }
