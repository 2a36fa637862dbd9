"""Does a live endpoint predict what was judged? A bundle's holdout rows, replayed over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.inference import Answer, InferenceClient, Protocol
from cd4ml.adapters.manifest import bundle_id, verify_manifest
from cd4ml.errors import UsageError
from cd4ml.models.data import FloatArray, IntArray
from cd4ml.models.form_parity import TOLERANCE
from cd4ml.models.runtime import holdout_rows

__all__ = ["BATCH_ROWS", "TOLERANCE", "Difference", "EndpointReport", "compare_endpoint"]

BATCH_ROWS = 500
"""Rows of a batch where nobody says how many, or fewer where the contract takes fewer."""
_OUTPUTS = ("prediction", "quantile", "decision")
_SEED = 20260817


@dataclass(frozen=True)
class Difference:
    """One row for which the endpoint does not answer what was judged.

    Attributes
    ----------
    row : int
        Place in holdout/inputs.jsonl, from 0.
    asked : str
        "alone" or "batch".
    output : str
        Which output; "" where there is none at all.
    expected, found : float or None
        What was judged and what came; None where there is no number.
    reason : str
        The same in words.
    """

    row: int
    asked: str
    output: str
    expected: float | None
    found: float | None
    reason: str


@dataclass(frozen=True)
class EndpointReport:
    """What a replay found.

    Attributes
    ----------
    address : str
        Where rows were sent.
    bundle : str
        Id of the bundle.
    served : str
        Id of the bundle that the endpoint says it serves; "" where it does not say.
    rows, batch_rows, requests : int
        Rows of the holdout, rows of a batch, and requests that were made.
    outputs : tuple of str
        Outputs that were compared.
    differing_rows : int
        Rows that differ, alone or in a batch.
    largest_difference : float
        Of |found - expected| / max(1, |expected|) over all numbers that came.
    first : Difference or None
        Of the first row that differs, alone before in a batch.
    """

    address: str
    protocol: Protocol
    bundle: str
    rows: int
    batch_rows: int
    requests: int
    outputs: tuple[str, ...]
    differing_rows: int
    largest_difference: float
    first: Difference | None
    served: str = ""

    @property
    def is_other(self) -> bool:
        """Whether the endpoint says that it serves another bundle."""
        return self.served not in ("", self.bundle)

    @property
    def agrees(self) -> bool:
        """Whether every row came back as it was judged, and of no other bundle."""
        return self.first is None and not self.is_other

    @property
    def sentence(self) -> str:
        """The result in one line."""
        told = f"{self.address} says it serves bundle {self.served[:12]}; expected {self.bundle[:12]}. "
        return (told if self.is_other else "") + self._rows_sentence

    @property
    def _rows_sentence(self) -> str:
        within = f"within {TOLERANCE:g} of max(1, |y|)"
        if self.first is None:
            return (
                f"{self.address} answers {self.rows} holdout rows, alone and in batches of {self.batch_rows},"
                f" as they were judged: {', '.join(self.outputs)} {within}, at most"
                f" {self.largest_difference:.2g} apart"
            )
        how = "asked alone" if self.first.asked == "alone" else "asked in a batch"
        return (
            f"{self.address} differs for {self.differing_rows} of {self.rows} holdout rows; expected all"
            f" {within}. First row {self.first.row}, {how}: {self.first.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        found = asdict(self)
        return {**found, "outputs": list(self.outputs), "agrees": self.agrees, "tolerance": TOLERANCE}


def compare_endpoint(
    url: str,
    bundle_folder: Path,
    *,
    protocol: Protocol = "v1",
    batch_rows: int | None = None,
    timeout_seconds: float = 10.0,
    headers: Mapping[str, str] | None = None,
) -> EndpointReport:
    """Replay a bundle's holdout rows against a live endpoint and compare with what was judged.

    Each row is asked alone, in their order, and then all of them in batches, shuffled: an endpoint whose
    answer hangs on a row's place or on its neighbours is found. Every output that the bundle has recorded
    must come. An endpoint that says which bundle it serves, as cd4ml's servers do, must serve this one.

    Parameters
    ----------
    url : str
        The server's address; the model is then called as the problem is. Or the model's own:
        `http://host/v1/models/NAME`.
    batch_rows : int, optional
        Rows of a batch, at most the contract's `max_rows`; `BATCH_ROWS` by default.
    timeout_seconds : float
        For each request.
    headers : mapping, optional
        More headers of each request.

    Raises
    ------
    UsageError
        If the address, the protocol or the size of a batch cannot be.
    ServiceError
        If the endpoint does not answer, or not in the protocol.
    IntegrityError
        If the bundle is not whole.
    """
    verify_manifest(bundle_folder)
    contract = json.loads((bundle_folder / "contract.json").read_bytes())
    rows = holdout_rows(bundle_folder)
    size = _batch_rows(batch_rows, int(contract["max_rows"]))
    kinds = {name: field["kind"] for name, field in contract["inputs"]["properties"].items()}
    comparison = _Comparison(_expected(bundle_folder), len(rows))
    with InferenceClient(url, contract["problem"], protocol, kinds, timeout_seconds, headers) as client:
        served = client.metadata().get("bundle", "")
        for asked, places in _requests(len(rows), size):
            comparison.add(asked, places, client.predict([rows[place] for place in places.tolist()]))
    return EndpointReport(
        address=client.address,
        protocol=protocol,
        bundle=bundle_id(bundle_folder),
        rows=len(rows),
        batch_rows=size,
        requests=client.requests,
        outputs=tuple(comparison.expected),
        differing_rows=int(comparison.differs.sum()),
        largest_difference=comparison.largest,
        first=comparison.first,
        served=served if isinstance(served, str) else "",
    )


def _batch_rows(asked: int | None, most: int) -> int:
    if asked is None:
        return min(BATCH_ROWS, most)
    if not 1 <= asked <= most:
        raise UsageError(f"expected batches of 1 to {most} rows, as the contract says; found {asked}")
    return asked


def _expected(folder: Path) -> dict[str, FloatArray]:
    """Return what was judged, by output."""
    paths = {name: folder / "holdout" / f"{name}.npy" for name in _OUTPUTS}
    return {
        name: np.load(path, allow_pickle=False).astype(np.float64)
        for name, path in paths.items()
        if path.is_file()
    }


def _requests(rows: int, size: int) -> Iterator[tuple[str, IntArray]]:
    """Yield how to ask, and for which rows."""
    for row in range(rows):
        yield "alone", np.array([row])
    shuffled = np.random.Generator(np.random.PCG64(_SEED)).permutation(rows)
    for start in range(0, rows, size):
        yield "batch", shuffled[start : start + size]


class _Comparison:
    """What answers differ from, gathered request by request."""

    def __init__(self, expected: Mapping[str, FloatArray], rows: int) -> None:
        self.expected = expected
        self.differs = np.zeros(rows, dtype=bool)
        self.largest = 0.0
        self.first: Difference | None = None

    def add(self, asked: str, places: IntArray, answer: Answer) -> None:
        """Compare one answer."""
        if answer.refusal:
            self._all(asked, places, "", f"refused, {answer.refusal}")
            return
        for output, expected in self.expected.items():
            if output not in answer.outputs:
                came = ", ".join(map(str, answer.outputs)) or "none"
                self._all(asked, places, output, f"expected an output '{output}'; found {came}")
                continue
            values = answer.outputs[output]
            if len(values) != len(places):
                told = f"expected {len(places)} values of '{output}', one a row; found {len(values)}"
                self._all(asked, places, output, told)
                continue
            self._compare(asked, places, output, expected[places], _numbers(values))

    def _all(self, asked: str, places: IntArray, output: str, reason: str) -> None:
        self.differs[places] = True
        self._keep(Difference(int(places.min()), asked, output, None, None, reason))

    def _compare(
        self, asked: str, places: IntArray, output: str, expected: FloatArray, found: FloatArray
    ) -> None:
        apart = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
        finite = apart[np.isfinite(apart)]
        self.largest = max(self.largest, float(finite.max(initial=0.0)))
        wrong = np.flatnonzero(~(apart <= TOLERANCE))  # NaN is wrong too
        if not len(wrong):
            return
        self.differs[places[wrong]] = True
        at = wrong[places[wrong].argmin()]
        came = float(found[at]) if np.isfinite(found[at]) else None
        told = "no finite number" if came is None else f"{came:.9g}"
        reason = f"{output} was judged as {expected[at]:.9g}; found {told}"
        self._keep(Difference(int(places[at]), asked, output, float(expected[at]), came, reason))

    def _keep(self, found: Difference) -> None:
        """Keep the difference of the lowest row; of one row the one that was found first."""
        if self.first is None or found.row < self.first.row:
            self.first = found


def _numbers(values: Sequence[Any]) -> FloatArray:
    """Return values as float64; NaN for what is no number."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else np.nan
    except OverflowError:
        return np.nan
