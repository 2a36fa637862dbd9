"""What a server counts, for Prometheus: requests, errors by kind, latency, what was predicted.

Each number carries the model, its version and its variant (stable, canary, shadow), so that a rollout can
tell them apart. Under several workers call `count_across_workers` before anything imports prometheus_client:
each worker then counts in files of its own, and `page` adds them up, those of ended workers too.
"""

from __future__ import annotations

import os
import shutil
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

__all__ = [
    "ERROR_KINDS",
    "EVENT_RESULTS",
    "PROBABILITY_EDGES",
    "PROTOCOLS",
    "SECONDS_EDGES",
    "VALUE_EDGES",
    "Telemetry",
    "count_across_workers",
    "error_kind",
    "forget_counts",
    "page",
]

PROTOCOLS = ("v1", "v2")
OUTCOMES = ("ok", "client_error", "server_error")
ERROR_KINDS = (
    "malformed",
    "refused",
    "too_large",
    "media_type",
    "timeout",
    "overloaded",
    "client",
    "internal",
)
"""All kinds of errors there are: a label with an open set of values fills a Prometheus."""
_KINDS = {
    400: "malformed",
    408: "timeout",
    413: "too_large",
    415: "media_type",
    422: "refused",
    429: "overloaded",
    503: "overloaded",
    504: "timeout",
}
EVENT_RESULTS = ("written", "full", "unencodable", "unwritable", "no_space", "closed")
"""What became of events; all but `written` were dropped. See `events.EventLog`."""

SECONDS_EDGES = (
    *(0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.0006, 0.0008),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
"""Upper ends of the buckets of latency; a model answers one row in half a millisecond."""
PROBABILITY_EDGES = (0.01, 0.02, *(step / 20 for step in range(1, 20)), 0.98, 0.99, 1.0)
_POSITIVE_EDGES = tuple(float(f"{digit}e{power}") for power in range(-2, 7) for digit in (1, 2, 5))
VALUE_EDGES = (*(-edge for edge in reversed(_POSITIVE_EDGES)), 0.0, *_POSITIVE_EDGES)
"""The same for each problem and version: two versions compare only when their buckets have the same ends."""

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_LABELS = ("model", "version", "variant")
_SMALLEST_FILE_BYTES = 8
_MANY = 64
"""From so many predictions on, NumPy sorts them into buckets faster than bisect does."""


def error_kind(status: int, field: str = "") -> str:
    """Return the kind of an error, one of `ERROR_KINDS`, for an HTTP status; "" below 400.

    A 400 that names a field is `refused`: the body could be read, and what it says is not allowed.
    """
    if status < 400:
        return ""
    if status == 400 and field:
        return "refused"
    return _KINDS.get(status, "client" if status < 500 else "internal")


class Telemetry:
    """The counters of one version of a model in one variant.

    Making another one with the same names, in the same process or another, counts on in the same numbers.
    It can be pickled, for a worker that is spawned; it then counts in that process's default registry.

    Parameters
    ----------
    name, version, variant : str
        The labels `model`, `version`, `variant`.
    registry : CollectorRegistry, optional
        Where the numbers can be found; by default prometheus_client's own, which KServe uses too.
    task : str
        The problem's: `classification` tells probabilities in `cd4ml_predicted_probability`, `regression`
        tells values in `cd4ml_predicted_value`, which has buckets and no sum, as values may be negative.
    """

    def __init__(
        self,
        name: str,
        version: str,
        variant: str,
        registry: CollectorRegistry | None = None,
        task: str = "regression",
    ) -> None:
        self.labels = (name, version, variant)
        self.task = task
        families = _families_of(registry)
        labels = self.labels
        # Every child is made now: a counter that appears with its first error hides that error from rate().
        self._requests = {
            (protocol, outcome): families.requests.labels(*labels, protocol, outcome)
            for protocol in PROTOCOLS
            for outcome in OUTCOMES
        }
        self._errors = {
            (protocol, kind): families.errors.labels(*labels, protocol, kind)
            for protocol in PROTOCOLS
            for kind in ERROR_KINDS
        }
        self._seconds = {
            (protocol, outcome): families.seconds.labels(*labels, protocol, outcome)
            for protocol in PROTOCOLS
            for outcome in OUTCOMES
        }
        self._events = {result: families.events.labels(*labels, result) for result in EVENT_RESULTS}
        self._not_finite = families.not_finite.labels(*labels)
        self._served = families.served
        of_probabilities = task == "classification"
        self._edges = PROBABILITY_EDGES if of_probabilities else VALUE_EDGES
        self._predicted = (families.probabilities if of_probabilities else families.values).labels(*labels)

    def __reduce__(self) -> tuple[type[Telemetry], tuple[Any, ...]]:
        return Telemetry, (*self.labels, None, self.task)

    def observe(
        self,
        protocol: str,
        seconds: float,
        predictions: Sequence[float] | np.ndarray[Any, Any] = (),
        status: int = 200,
        field: str = "",
    ) -> None:
        """Count one request.

        Parameters
        ----------
        protocol : str
            One of `PROTOCOLS`.
        seconds : float
            From its first byte to its answer.
        predictions : sequence of float
            One a row; empty when the request failed.
        status : int
            Of its answer; from 400 on it is an error, of the kind `error_kind(status, field)`.
        field : str
            The field that was refused; "" for none.
        """
        kind = error_kind(status, field)
        outcome = "ok" if not kind else "client_error" if status < 500 else "server_error"
        self._requests[protocol, outcome].inc()
        self._seconds[protocol, outcome].observe(seconds)
        if kind:
            self._errors[protocol, kind].inc()
        if len(predictions):
            self._count_predictions(predictions)

    def count_events(self, result: str, number: int) -> None:
        """Count prediction events of which `result` became, one of `written` or a reason for dropping."""
        self._events[result].inc(number)

    def in_service(self, bundle: str, serves: bool) -> None:
        """Tell whether this process answers with a bundle, by its id."""
        self._served.labels(*self.labels, bundle).set(1 if serves else 0)

    def _count_predictions(self, predictions: Sequence[float] | np.ndarray[Any, Any]) -> None:
        # A NaN would make the histogram's sum NaN for ever, so it is counted apart.
        if len(predictions) < _MANY:
            finite = [value for value in map(float, predictions) if isfinite(value)]
            for value in finite:
                _add(self._predicted, bisect_left(self._edges, value), 1)
            total, kept = sum(finite), len(finite)
        else:
            values = np.asarray(predictions, dtype=np.float64)
            values = values[np.isfinite(values)]
            places, numbers = np.unique(np.searchsorted(self._edges, values), return_counts=True)
            for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
                _add(self._predicted, place, number)
            total, kept = float(values.sum()), len(values)
        self._predicted._sum.inc(total)
        if kept < len(predictions):
            self._not_finite.inc(len(predictions) - kept)


def _add(histogram: Histogram, place: int, number: int) -> None:
    """Count `number` values of one bucket at once; prometheus_client itself takes them one by one."""
    histogram._buckets[place].inc(number)


class _Families:
    """The metrics of one registry; a registry refuses to have one twice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def counter(name: str, what: str, *more: str) -> Counter:
            return Counter(name, what, (*_LABELS, *more), registry=registry)

        def histogram(name: str, what: str, edges: Sequence[float], *more: str) -> Histogram:
            return Histogram(name, what, (*_LABELS, *more), registry=registry, buckets=edges)

        self.requests = counter("cd4ml_requests", "Requests answered.", "protocol", "outcome")
        self.errors = counter("cd4ml_request_errors", "Requests that failed, by kind.", "protocol", "kind")
        what = "Seconds from a request to its answer."
        self.seconds = histogram("cd4ml_request_seconds", what, SECONDS_EDGES, "protocol", "outcome")
        self.values = histogram("cd4ml_predicted_value", "What was predicted, one a row.", VALUE_EDGES)
        what = "Which probability was predicted, one a row."
        self.probabilities = histogram("cd4ml_predicted_probability", what, PROBABILITY_EDGES)
        what = "Predictions that are NaN or infinite; in no bucket."
        self.not_finite = counter("cd4ml_predictions_not_finite", what)
        what = "Prediction events by what became of them; all but written were dropped."
        self.events = counter("cd4ml_events", what, "result")
        what = "1 for a bundle that answers, in at least one process; 0 for one that did before."
        names = (*_LABELS, "bundle")
        self.served = Gauge("cd4ml_served_info", what, names, registry=registry, multiprocess_mode="livemax")


_known: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()


def _families_of(registry: CollectorRegistry | None) -> _Families:
    import prometheus_client

    registry = registry or prometheus_client.REGISTRY
    if registry not in _known:
        _known[registry] = _Families(registry)
    return _known[registry]


def count_across_workers(folder: Path) -> None:
    """Have this process, and those that it starts, count in files in `folder`.

    Parameters
    ----------
    folder : Path
        Of this server alone, and new at each start of it: what is in there is added to what is shown.

    Raises
    ------
    UsageError
        If prometheus_client was imported before and counts in memory.
    """
    values = sys.modules.get("prometheus_client.values")
    if values is not None and not values.ValueClass._multiprocess:
        raise UsageError(
            "expected to be called before prometheus_client is imported; it is, and counts in this process"
            " alone. Call count_across_workers before kserve is imported"
        )
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_FOLDER] = str(folder)


def forget_counts() -> None:
    """Take the files of all workers away, where the process that would do it has ended before them."""
    if folder := os.environ.get(_FOLDER):
        shutil.rmtree(folder, ignore_errors=True)


def _past(file: Path) -> bool:
    """Return whether a file tells what a process does now, and that process has ended."""
    name, _, process = file.stem.rpartition("_")
    return (
        name.startswith("gauge_live") and not Path(f"/proc/{process}").exists() and Path("/proc/1").exists()
    )


class _Workers:
    """The sum over all workers, as a collector."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.multiprocess import MultiProcessCollector

        # A worker that starts makes its file empty first, which the merge takes for a broken one.
        files = (
            file
            for file in self._folder.glob("*.db")
            if file.stat().st_size >= _SMALLEST_FILE_BYTES and not _past(file)
        )
        found: Iterable[Metric] = MultiProcessCollector.merge(sorted(map(str, files)))  # type: ignore[no-untyped-call]
        return found


def page(registry: CollectorRegistry | None = None, accept: str = "") -> tuple[bytes, str]:
    """Return what `/metrics` answers, and its content type.

    Parameters
    ----------
    registry : CollectorRegistry, optional
        What to show; by default prometheus_client's own. When workers count in files, what all of them
        counted is shown instead.
    accept : str
        The header of the request; it chooses between the formats of Prometheus and OpenMetrics.
    """
    import prometheus_client
    from prometheus_client import values
    from prometheus_client.exposition import choose_encoder

    encoder, content_type = choose_encoder(accept)
    if values.ValueClass._multiprocess:
        registry = prometheus_client.CollectorRegistry()
        registry.register(_Workers(Path(os.environ[_FOLDER])))
    return encoder(registry or prometheus_client.REGISTRY), content_type
