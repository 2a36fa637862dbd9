"""Whole rollouts on the stand-ins, in both modes, with both kinds of routes."""

from __future__ import annotations

import pytest

from cd4ml.delivery.plane import DesiredService
from tests.delivery.kserve.scene import NEW, NEWER, OLD, SERVICE, Scene, scene
from tests.kubernetes.cluster import Cluster

MODES = ["Knative", "Standard"]


def _serves(world: Scene) -> str:
    return str(world.spec()["predictor"]["model"]["storageUri"])


@pytest.mark.parametrize("mode", MODES)
def test_a_candidate_is_verified_gets_shares_and_is_promoted(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        verified = world.settle(DesiredService(SERVICE, OLD, canary=NEW))
        assert verified.canary_percent == 0
        canary = verified.variant("canary")
        assert canary and canary.ready and canary.url and canary.version == "2"
        for percent in (10, 50):
            assert (
                world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=percent)).canary_percent
                == percent
            )
        world.settle(DesiredService(SERVICE, NEW, canary=OLD))
        assert _serves(world) == NEW.location
        done = world.settle(DesiredService(SERVICE, NEW))
        assert done.variants[0].version == "2" and done.converged
        assert "canary" not in world.spec() and "canaryTrafficPercent" not in world.spec()["predictor"]
        assert world.spec()["predictor"]["labels"]["endpoint"] == "stable"


@pytest.mark.parametrize("mode", MODES)
def test_rolling_back_restores_the_previous_spec_to_the_letter(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        before = world.spec()
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=25))
        assert world.spec() != before
        found = world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == before and found.canary_percent == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_promoted_model_is_taken_back_while_it_is_watched(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        before = world.spec()
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=50))
        world.settle(DesiredService(SERVICE, NEW, canary=OLD))
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == before


@pytest.mark.parametrize("mode", MODES)
def test_the_next_rollout_goes_back_to_what_the_one_before_promoted(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=50))
        world.settle(DesiredService(SERVICE, NEW, canary=OLD))
        world.settle(DesiredService(SERVICE, NEW))
        before = world.spec()
        world.settle(DesiredService(SERVICE, NEW, NEWER, canary_percent=5))
        world.settle(DesiredService(SERVICE, NEW))
        assert world.spec() == before


@pytest.mark.parametrize("route", ["HTTPRoute", "VirtualService"])
@pytest.mark.parametrize("mode", MODES)
def test_a_shadow_gets_copies_once_it_is_ready_and_is_taken_away(
    cluster: Cluster, mode: str, route: str
) -> None:
    with scene(cluster, mode, route) as world:
        world.settle(DesiredService(SERVICE, OLD))
        found = world.settle(DesiredService(SERVICE, OLD, shadow=NEW, mirror_percent=100))
        shadow = found.variant("shadow")
        assert found.mirror_percent == 100 and shadow and shadow.ready and shadow.version == "2"
        assert world.service(f"{SERVICE}-shadow")["status"]["deploymentMode"] == "Standard"
        world.settle(DesiredService(SERVICE, OLD))
        assert not world.service(f"{SERVICE}-shadow")
