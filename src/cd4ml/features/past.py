"""The historic features of a plan against a state, laid together so that they share work.

Each is a statistic of some steps of one series. The steps of all of them are found at once, and windows of
the same width are computed as one block, so that one row costs few calls of NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.panel import Panel
from cd4ml.features.plan import LagFeature, Plan, RollingFeature, SeasonalFeature
from cd4ml.features.windows import Windows

__all__ = ["Historic", "Past", "group_by_geometry"]

Codes = NDArray[np.int64]
Matrix = NDArray[np.float32]
Historic = LagFeature | RollingFeature | SeasonalFeature


@dataclass
class _Run:
    """Steps of one series, newest first, and which statistics of how many of them go to which column."""

    series: int
    delays: tuple[int, ...]
    """The single step at which a window ends; or each step of a season."""
    width: int = 1
    """Of the window."""
    items: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Method of Windows -> (column, size)."""

    def add(self, method: str, column: int, size: int) -> None:
        self.items.setdefault(method, []).append((column, size))


@dataclass(frozen=True)
class _Statistic:
    """One statistic for the runs of a stack.

    Column `columns[i]` is that of run `runs[i]` at `sizes[places[i]]`.
    """

    method: str
    sizes: Any
    runs: Codes
    places: Codes
    columns: Codes

    @classmethod
    def of(cls, method: str, runs: Sequence[_Run]) -> _Statistic:
        items = [(number, *item) for number, run in enumerate(runs) for item in run.items[method]]
        sizes = sorted({size for _, _, size in items})
        places = [sizes.index(size) for _, _, size in items]
        asked = sizes[0] if len(sizes) == 1 else np.array(sizes)
        numbers, columns = [number for number, _, _ in items], [column for _, column, _ in items]
        return cls(method, asked, np.array(numbers), np.array(places), np.array(columns))

    def fill(self, windows: Windows, runs: int, out: Matrix) -> None:
        values = getattr(windows, self.method)(self.sizes).reshape(runs, len(out), np.size(self.sizes))
        out[:, self.columns] = values[self.runs, :, self.places].T


class _Stack:
    """Runs of the same length and the same statistics."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self.runs = tuple(runs)
        self.statistics = [_Statistic.of(method, runs) for method in runs[0].items]

    def fill(self, block: NDArray[np.float32], out: Matrix) -> None:
        """Write the statistics of a block [runs * n, length]."""
        windows = Windows(block)
        for statistic in self.statistics:
            statistic.fill(windows, len(self.runs), out)


def _stacks(runs: Sequence[_Run]) -> list[_Stack]:
    found: dict[Any, list[_Run]] = {}
    for run in runs:
        found.setdefault((len(run.delays), run.width, frozenset(run.items)), []).append(run)
    return [_Stack(alike) for alike in found.values()]


class Past:
    """Historic features whose panels have the same geometry.

    Parameters
    ----------
    plan : Plan
    panels : sequence of Panel
        Of all series of the plan.
    features : sequence of (column, feature)
        Where each goes.
    """

    def __init__(self, plan: Plan, panels: Sequence[Panel], features: Sequence[tuple[int, Historic]]) -> None:
        self._panels = panels
        self._lags = [(column, item) for column, item in features if isinstance(item, LagFeature)]
        self._seasons = _stacks(_seasons(features))
        self._windows = _stacks(_rolling(features))
        wanted = {(lag.series, lag.delay) for _, lag in self._lags}
        wanted |= {
            (run.series, delay) for stack in self._seasons for run in stack.runs for delay in run.delays
        }
        self._steps = sorted(wanted)
        rolled = [run for stack in self._windows for run in stack.runs]
        asked = [(series, delay, 1) for series, delay in self._steps]
        asked += [(run.series, run.delays[0], run.width) for run in rolled]
        self.groups = list(dict.fromkeys(plan.series[series].by for series, _, _ in asked))
        self._panel = panels[asked[0][0]]
        self._views = [
            [panels[run.series].windows(run.width) for run in stack.runs] for stack in self._windows
        ]
        self._group_of = np.array([self.groups.index(plan.series[series].by) for series, _, _ in asked])
        self._delay = np.array([[delay] for _, delay, _ in asked])
        self._width = np.array([[width] for _, _, width in asked])
        self._lay_out()

    def _lay_out(self) -> None:
        place = {step: number for number, step in enumerate(self._steps)}
        series = [series for series, _ in self._steps]  # in ascending order
        self._rows = [
            (self._panels[one].values, slice(series.index(one), series.index(one) + series.count(one)))
            for one in dict.fromkeys(series)
        ]
        self._lag_columns = np.array([column for column, _ in self._lags], dtype=np.int64)
        self._lag_places = np.array([place[lag.series, lag.delay] for _, lag in self._lags], dtype=np.int64)
        self._season_places = [
            np.array([[place[run.series, delay] for delay in run.delays] for run in stack.runs])
            for stack in self._seasons
        ]

    def fill(self, members: Mapping[tuple[str, ...], Codes], step: Codes, out: Matrix) -> None:
        """Write the features of rows.

        Parameters
        ----------
        members : mapping
            For each of `groups` the member of each row [n].
        step : int64 [n]
        out : float32 [n, k]
        """
        group = np.array([members[by] for by in self.groups])[self._group_of]
        cells = self._panel.place(group, step - self._delay, self._width)
        self._fill_steps(cells, out)
        row = len(self._steps)
        for stack, views in zip(self._windows, self._views, strict=True):
            parts = [view[cells[row + number]] for number, view in enumerate(views)]
            block = parts[0] if len(parts) == 1 else np.concatenate(parts)
            stack.fill(block[:, ::-1], out)
            row += len(parts)

    def _fill_steps(self, cells: Codes, out: Matrix) -> None:
        """Write lags and seasons."""
        if not self._steps:
            return
        values = np.empty((len(self._steps), len(out)), dtype=np.float32)
        for panel, rows in self._rows:
            values[rows] = panel[cells[rows]]
        if len(self._lag_columns):
            out[:, self._lag_columns] = values[self._lag_places].T
        for stack, places in zip(self._seasons, self._season_places, strict=True):
            block = values[places].transpose(0, 2, 1)  # runs, rows, steps
            stack.fill(block.reshape(-1, places.shape[1]), out)


def _rolling(features: Sequence[tuple[int, Historic]]) -> list[_Run]:
    """Return one run for each series and end of windows, as long as the longest of them."""
    found: dict[tuple[int, int], _Run] = {}
    for column, feature in features:
        if isinstance(feature, RollingFeature):
            run = found.setdefault(
                (feature.series, feature.after), _Run(feature.series, (feature.after,), width=0)
            )
            run.width = max(run.width, feature.size)
            run.add("total" if feature.statistic == "sum" else feature.statistic, column, feature.size)
    return list(found.values())


def _seasons(features: Sequence[tuple[int, Historic]]) -> list[_Run]:
    """Return one run for each series and period, as long as the most cycles."""
    found: list[_Run] = []
    for column, feature in features:
        if not isinstance(feature, SeasonalFeature):
            continue
        size = len(feature.delays)
        for run in found:
            if run.series == feature.series and run.delays[:size] == feature.delays[: len(run.delays)]:
                run.delays = max(run.delays, feature.delays, key=len)
                run.add("mean", column, size)
                break
        else:
            found.append(_Run(feature.series, feature.delays))
            found[-1].add("mean", column, size)
    return found


def group_by_geometry(
    plan: Plan, panels: Sequence[Panel], features: Sequence[tuple[int, Historic]]
) -> list[Past]:
    """Return the features laid together, those of panels of one geometry at a time."""
    found: dict[tuple[int, int, int], list[tuple[int, Historic]]] = {}
    for column, feature in features:
        found.setdefault(panels[feature.series].geometry, []).append((column, feature))
    return [Past(plan, panels, alike) for alike in found.values()]
