"""Latency is measured one row at a time, after a warm-up."""

import pytest

from cd4ml.errors import DataError
from cd4ml.models.latency import measure_latency


class Slow:
    """A bundle that moves its clock: each call takes as many milliseconds as its row says."""

    def __init__(self):
        self.now, self.rows = 0.0, []

    def predict_rows(self, rows):
        (row,) = rows
        self.rows.append(row)
        self.now += row["ms"] / 1000

    def clock(self):
        return self.now


def test_quantiles_are_over_single_rows_taken_in_turn():
    bundle = Slow()
    rows = [{"ms": 1}] * 49 + [{"ms": 11}]
    found = measure_latency(bundle, rows, calls=200, warm_up=0, clock=bundle.clock)
    assert found.p50_ms == pytest.approx(1)
    assert found.p99_ms == pytest.approx(11)
    assert found.to_dict()["calls"] == 200 == len(bundle.rows)


def test_the_warm_up_does_not_count():
    bundle = Slow()
    found = measure_latency(
        bundle, [{"ms": 1}, {"ms": 1}, {"ms": 50}], calls=2, warm_up=1, clock=bundle.clock
    )
    assert len(bundle.rows) == 3
    assert found.p99_ms == pytest.approx(1)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="latency needs at least one row; found none"):
        measure_latency(Slow(), [])
