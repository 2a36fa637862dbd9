"""What all sources share: losses by problem, several sources as one, a gateway that does not log."""

from dataclasses import dataclass

import numpy as np
import pytest

from cd4ml.adapters import problem_files
from cd4ml.delivery.evidence.losses import LOSSES, Quality, quality_of
from cd4ml.delivery.evidence.source import Collected, EvidenceSource
from cd4ml.delivery.evidence.together import Together
from cd4ml.delivery.evidence.told import GatewayCount
from cd4ml.domain.rollout.state import Rollout
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy
from tests.delivery.evidence.traffic import policy, rollout


@dataclass
class Fixed:
    """A source that says what it was given."""

    found: Collected

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        return self.found


def test_several_sources_add_up_and_name_who_holds() -> None:
    one, other = Evidence("errors", 1.0, 1.0, 5), Evidence("loss", 2.0, None, 3)
    sources: list[tuple[str, EvidenceSource]] = [
        ("Prometheus", Fixed(Collected((one,), (), 5))),
        ("events", Fixed(Collected((other,), ("silent",), 3))),
    ]
    assert Together(sources).collect(rollout(), policy(), 0.0) == Collected(
        (one, other), ("events: silent",), 3
    )
    with pytest.raises(UsageError, match="at least one source"):
        Together([])


@pytest.mark.parametrize(
    ("name", "loss", "by_day"),
    [("bike-demand", "absolute error", True), ("sales-forecast", None, None), ("adult-income", None, False)],
)
def test_the_loss_is_that_of_the_problem(name: str, loss: str | None, by_day: bool | None) -> None:
    found = quality_of(problem_files.load(name))
    assert found.loss in LOSSES
    assert loss in (None, found.loss)
    assert by_day in (None, found.by_day)


def test_losses_are_0_for_the_truth_and_grow_with_the_error() -> None:
    truth = np.array([0.0, 1.0])
    for name in LOSSES:
        quality = Quality(name)
        right, near, far = (quality.of(truth, np.abs(truth - off)) for off in (0.0, 0.2, 0.9))
        assert (right < 1e-5).all()
        assert (right < near).all()
        assert (near < far).all()
    assert (
        Quality("log loss").of(np.array([1.0]), np.array([0.0]))[0] < 14
    )  # bounded: one row decides nothing


def test_the_day_is_that_of_the_row_where_the_input_tells_it() -> None:
    quality = Quality(day_column="at")
    assert quality.day({"at": "2026-02-03T10:00:00"}, 0.0) == "2026-02-03"
    assert quality.day({}, 86_400.0) == "1970-01-02"


def test_a_gateway_that_counts_while_its_log_stands_still_is_silent() -> None:
    count = GatewayCount()
    assert not count.silent(0.0, 100, 50)
    assert not count.silent(30.0, 200, 50)
    assert count.silent(90.0, 200, 50)
    assert not count.silent(91.0, 200, 51)
    assert not count.silent(300.0, 205, 51)  # a few requests may be on their way
    assert not count.silent(400.0, 3, 51)  # it was started again
    assert not count.silent(900.0, None, 51)
