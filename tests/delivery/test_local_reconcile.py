"""The rules of the reconciler, and what holds for each of its histories."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.envoy import Route
from cd4ml.delivery.local.reconcile import Plan, ServerState, converged, plan_service
from cd4ml.delivery.plane import VARIANTS, DesiredService, Variant

V = [Variant(f"m@{n}", str(n), str(n) * 64, f"/{n}") for n in range(4)]


def up(name: str, number: int, **more: Any) -> ServerState:
    return ServerState(name, V[number], **{"loaded": True, "running": True, "joined": True, **more})


def plan(desired: DesiredService | None, *servers: ServerState, taken: Route | None = None) -> Plan:
    return plan_service("m", desired, servers, taken, 30.0)


def test_a_new_variant_is_started_and_gets_nothing_before_it_is_ready() -> None:
    wanted = DesiredService("m", V[0], canary=V[1], canary_percent=10)
    first = plan(wanted)
    assert dict(first.start) == {"stable": V[0], "canary": V[1]}
    assert first.route == Route("m", (), ready=False)
    starting = ServerState("canary", V[1])
    second = plan(wanted, up("stable", 0), starting)
    assert second.route == Route("m", ("stable",))
    assert not second.start
    third = plan(wanted, up("stable", 0), up("canary", 1))
    assert third.route == Route("m", ("stable", "canary"), 10)


def test_a_crashed_variant_keeps_its_share() -> None:
    wanted = DesiredService("m", V[0], canary=V[1], canary_percent=10)
    found = plan(wanted, up("stable", 0), up("canary", 1, running=False), taken=Route("m", VARIANTS[:2], 10))
    assert found.route == Route("m", ("stable", "canary"), 10)


def test_a_canary_is_exchanged_only_below_the_share_of_the_new_one() -> None:
    wanted = DesiredService("m", V[0], canary=V[2], canary_percent=1)
    before = plan(wanted, up("stable", 0), up("canary", 1), taken=Route("m", VARIANTS[:2], 50))
    assert not before.ask, "the new model would get half of the requests"
    assert before.route is not None
    assert before.route.canary_percent == 1
    then = plan(wanted, up("stable", 0), up("canary", 1), taken=Route("m", VARIANTS[:2], 1))
    assert dict(then.ask) == {"canary": V[2]}


def test_the_share_of_a_new_canary_grows_when_its_model_is_loaded() -> None:
    wanted = DesiredService("m", V[0], canary=V[2], canary_percent=50)
    taken = Route("m", VARIANTS[:2], 5)
    loading = plan(wanted, up("stable", 0), up("canary", 2, loaded=False), taken=taken)
    refused = plan(wanted, up("stable", 0), up("canary", 2, loaded=False, error="altered"), taken=taken)
    loaded = plan(wanted, up("stable", 0), up("canary", 2), taken=taken)
    shares = [found.route.canary_percent for found in (loading, refused, loaded) if found.route]
    assert shares == [5, 5, 50]


def test_a_promoted_canary_answers_until_the_stable_one_has_its_model() -> None:
    wanted = DesiredService("m", V[1])
    taken = Route("m", VARIANTS[:2], 50)
    loading = plan(wanted, up("stable", 1, loaded=False), up("canary", 1), taken=taken)
    assert loading.route == Route("m", ("stable", "canary"), 50)
    loaded = plan(wanted, up("stable", 1), up("canary", 1), taken=taken)
    assert loaded.route == Route("m", ("stable",))
    assert loaded.stop == (), "the gateway still sends to it"


@pytest.mark.parametrize("trouble", [{"error": "altered", "loaded": False}, {"running": False}])
def test_a_canary_that_is_rolled_back_loses_its_share_at_once(trouble: dict[str, Any]) -> None:
    wanted, taken = DesiredService("m", V[0]), Route("m", VARIANTS[:2], 50)
    found = plan(wanted, up("stable", 0, **trouble), up("canary", 1), taken=taken)
    assert found.route == Route("m", ("stable",))


def test_a_server_is_stopped_when_it_has_nothing_under_way_or_the_grace_is_over() -> None:
    wanted = DesiredService("m", V[0])

    def stops(**more: Any) -> tuple[str, ...]:
        return plan(wanted, up("stable", 0), up("canary", 1, **more), taken=Route("m", ("stable",))).stop

    assert stops(unrouted_seconds=0.5) == ()
    assert stops(unrouted_seconds=5, in_flight=2) == ()
    assert stops(unrouted_seconds=5) == ("canary",)
    assert stops(unrouted_seconds=31, in_flight=2) == ("canary",)
    never_ready = ServerState("canary", V[1])
    assert plan(wanted, up("stable", 0), never_ready).stop == ("canary",)


def test_a_service_that_shall_be_no_more_has_no_route_and_its_servers_end() -> None:
    found = plan(None, up("stable", 0, unrouted_seconds=2), taken=None)
    assert found == Plan({}, {}, ("stable",), None)


def test_a_server_that_is_started_again_is_not_asked_for_more_until_it_runs() -> None:
    wanted = DesiredService("m", V[2])
    assert not plan(wanted, up("stable", 0, running=False)).ask
    assert dict(plan(wanted, ServerState("stable", V[0])).ask) == {"stable": V[2]}, "it never ran"


def test_converged_means_that_all_of_it_is_true() -> None:
    wanted = DesiredService("m", V[0], canary=V[1], canary_percent=10, sticky="header:u")
    route = Route("m", ("stable", "canary"), 10, sticky="header:u")
    good = (up("stable", 0), up("canary", 1))
    assert converged(wanted, good, route)
    for servers, taken in (
        (good, None),
        (good, replace(route, canary_percent=9.0)),
        (good, replace(route, sticky="")),
        (good, replace(route, members=("stable",))),
        (good[:1], route),
        ((*good, up("shadow", 2)), route),
        ((good[0], replace(good[1], loaded=False)), route),
        ((good[0], replace(good[1], running=False)), route),
        ((good[0], replace(good[1], asked=V[2])), route),
    ):
        assert not converged(wanted, servers, taken)


class World:
    """Servers and a gateway that do what a plan says, some time later."""

    def __init__(self) -> None:
        self.servers: dict[str, ServerState] = {}
        self.serves: dict[str, Variant] = {}
        self.taken: Route | None = None
        self.told: Route | None = None

    def step(self, desired: DesiredService, event: tuple[str, int]) -> None:
        found = plan_service("m", desired, list(self.servers.values()), self.taken, 30.0)
        for name, variant in found.start.items():
            self.servers[name] = ServerState(name, variant)
        for name, variant in found.ask.items():
            self.servers[name] = replace(self.servers[name], asked=variant, loaded=False, error="")
        for name in found.stop:
            self.servers.pop(name)
            self.serves.pop(name, None)
        self.told = found.route
        kind, which = event
        name = VARIANTS[which % 3]
        if kind == "take":
            self.taken = self.told
        elif name in self.servers:
            self._happen(kind, name)
        for one, server in self.servers.items():
            routed = self.taken is not None and one in self.taken.members
            unrouted = 0.0 if routed or self.taken != self.told else server.unrouted_seconds + 2.0
            self.servers[one] = replace(server, unrouted_seconds=unrouted)

    def _happen(self, kind: str, name: str) -> None:
        server = self.servers[name]
        if kind == "load":
            self.serves[name] = server.asked
            self.servers[name] = replace(server, running=True, joined=True, loaded=True)
        elif kind == "crash" and server.joined:
            self.servers[name] = replace(server, running=False)


EVENTS = st.tuples(st.sampled_from(["take", "load", "load", "crash"]), st.integers(0, 2))
STATES = st.builds(
    lambda stable, canary, percent: DesiredService(
        "m",
        V[stable],
        canary=None if canary is None else V[canary],
        canary_percent=percent if canary else 0.0,
    ),
    st.integers(0, 1),
    st.sampled_from([None, 2, 3]),
    st.sampled_from([1.0, 100.0]),
)


@given(st.lists(st.tuples(STATES, st.lists(EVENTS, min_size=2, max_size=8)), min_size=2, max_size=5))
@settings(deadline=None, max_examples=200)
def test_no_version_ever_gets_more_than_was_asked_for_it_and_all_ends_as_wished(history: Any) -> None:
    world, most = World(), {variant.version: 0.0 for variant in V}
    for desired, events in history:
        if desired.canary is not None:
            now = desired.canary.version
            most[now] = max(most[now], desired.canary_percent)
        for event in events:
            world.step(desired, event)
            taken, serves = world.taken, world.serves.get("canary")
            if taken is not None and "canary" in taken.members and serves is not None:
                assert taken.canary_percent <= most[serves.version], (taken, serves)
                assert "canary" in world.servers, "the gateway sends to a server that was stopped"
    last = history[-1][0]
    for _ in range(20):
        for event in [("load", 0), ("load", 1), ("take", 0)]:
            world.step(last, event)
    assert converged(last, list(world.servers.values()), world.taken)
