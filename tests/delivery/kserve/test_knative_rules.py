"""Rules of Knative mode that depend on a moment, as values."""

from __future__ import annotations

from cd4ml.delivery.kserve.knative import KnativeLook, knative_step
from cd4ml.delivery.kserve.objects import new_predictor, served_by, with_variant
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import DesiredService
from tests.delivery.kserve.scene import BAD, NEW, OLD, SERVICE

OWN = new_predictor(SERVICE, OLD, KServeSettings("models"))
CANARY = with_variant(OWN, NEW, "canary") | {"canaryTrafficPercent": 0}
OLDER = served_by(with_variant(OWN, BAD, "stable"))


def _look(created: str) -> KnativeLook:
    served = {"r1": OLDER, "r2": served_by(OWN), "r3": served_by(CANARY)}
    return KnativeLook(
        spec={"predictor": CANARY},
        newest=served_by(CANARY),
        percent=0,
        created=created,
        ready=created,
        rolledout="r2",
        previous="r1",
        traffic={"r2": 100},
        revisions=served,
    )


def test_a_spec_is_not_restored_before_the_revision_of_the_bad_one_is_made() -> None:
    """KServe takes a split over one revision for a rollback, and would bring the revision before it back."""
    step = knative_step(_look("r2"), DesiredService(SERVICE, OLD), {"predictor": OWN})
    assert step.spec is None and step.waiting == "revision r2 is not taken back yet"


def test_it_is_restored_without_traffic_once_that_revision_is_there_and_gets_none() -> None:
    step = knative_step(_look("r3"), DesiredService(SERVICE, OLD), {"predictor": OWN})
    assert step.spec == {"predictor": OWN | {"canaryTrafficPercent": 0}}
