"""What to do next, from what shall be and what is: values in, values out.

The rules, in the order in which they matter:

1. A variant gets requests once it was ready, and keeps its share while it is started again after a crash:
   moving its callers elsewhere would tear assignments apart, and the gateway repeats what found nobody.
2. A version never gets a larger share than it shall have: before the canary's model is exchanged, its share
   goes down to the lower one of both; it goes up when the new model is loaded.
3. A canary that is taken away while the stable model is exchanged (a promotion) keeps its share until the new
   stable model is loaded; in every other case (a rollback) it loses it at once.
4. A server is stopped when the gateway has stopped sending to it and has nothing under way with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cd4ml.adapters.envoy.routes import Route
from cd4ml.delivery.plane import DesiredService, Variant

__all__ = ["Plan", "ServerState", "converged", "plan_service"]

_DRAIN_LEAST_SECONDS = 1.0
"""A request between two repetitions is nowhere under way; it is back within half a second."""


@dataclass(frozen=True)
class ServerState:
    """One model server, as it was seen last.

    Attributes
    ----------
    asked : Variant
        What it was told to serve.
    loaded : bool
        All its workers served that when they last said what they serve.
    running : bool
        It answers now.
    joined : bool
        It was ready once.
    error : str
        Why it does not serve what it was told to; "" if nothing is wrong.
    unrouted_seconds : float
        Since when the gateway sends it nothing; 0 if it does.
    in_flight : int
        Requests that the gateway has under way with it.
    """

    name: str
    asked: Variant
    loaded: bool = False
    running: bool = False
    joined: bool = False
    error: str = ""
    unrouted_seconds: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True)
class Plan:
    """What to do for one service.

    Attributes
    ----------
    start, ask : mapping
        Variant's name -> what it shall serve; a new server, or one that runs.
    stop : tuple of str
        Variants whose server has nothing to do any more.
    route : Route or None
        What the gateway shall do; None: the service is not there.
    """

    start: Mapping[str, Variant]
    ask: Mapping[str, Variant]
    stop: tuple[str, ...]
    route: Route | None


def plan_service(
    service: str,
    desired: DesiredService | None,
    servers: Sequence[ServerState],
    taken: Route | None,
    grace_seconds: float,
) -> Plan:
    """Return what to do for one service.

    Parameters
    ----------
    desired : DesiredService or None
        None: it shall be no more.
    taken : Route or None
        What the gateway does now; None: it does not know the service.
    grace_seconds : float
        How long a server that gets nothing new may take for what it has under way.
    """
    wanted = desired.variants if desired else {}
    found = {server.name: server for server in servers}
    share = taken.canary_percent if taken else 0.0
    start = {name: variant for name, variant in wanted.items() if name not in found}
    ask = {
        name: variant
        for name, variant in wanted.items()
        if name in found
        and (
            found[name].running or not found[name].joined
        )  # what is started again comes back as it was first
        and found[name].asked.identity != variant.identity
        and (name != "canary" or desired is None or share <= desired.canary_percent)
    }
    route = _route(service, desired, found, taken) if desired else None
    kept = set(wanted) | set(route.members if route else ())
    stop = tuple(
        server.name for server in servers if server.name not in kept and _is_idle(server, grace_seconds)
    )
    return Plan(start, ask, stop, route)


def converged(desired: DesiredService, servers: Sequence[ServerState], taken: Route | None) -> bool:
    """Tell whether all of `desired` is true."""
    wanted = desired.variants
    if taken is None or {server.name for server in servers} != set(wanted):
        return False
    settled = all(_serves(server, wanted[server.name]) and server.running for server in servers)
    shares = (taken.canary_percent, taken.mirror_percent, taken.sticky, taken.salt)
    told = (desired.canary_percent, desired.mirror_percent, desired.sticky, desired.salt)
    return settled and shares == told and set(taken.members) == set(wanted)


def _route(
    service: str, desired: DesiredService, found: Mapping[str, ServerState], taken: Route | None
) -> Route:
    wanted = desired.variants
    members = [name for name in wanted if name in found and found[name].joined]
    share = taken.canary_percent if taken and "canary" in taken.members else 0.0
    percent = 0.0
    if "canary" in members:
        settled = _serves(found["canary"], wanted["canary"])
        percent = desired.canary_percent if settled else min(desired.canary_percent, share)
    elif "canary" not in wanted and share and _is_loading(found.get("stable"), desired.stable):
        members.append("canary")
        percent = share
    stable = found.get("stable")
    return Route(
        service=service,
        members=tuple(members),
        canary_percent=percent,
        mirror_percent=desired.mirror_percent if "shadow" in members else 0.0,
        sticky=desired.sticky,
        salt=desired.salt,
        ready=stable is not None and stable.joined,
    )


def _serves(server: ServerState, variant: Variant) -> bool:
    return server.joined and server.loaded and not server.error and server.asked.identity == variant.identity


def _is_loading(stable: ServerState | None, variant: Variant) -> bool:
    """Tell whether the stable server is about to serve another model: running, and no error so far."""
    if stable is None or not stable.running:
        return False
    return stable.asked.identity != variant.identity or (not stable.loaded and not stable.error)


def _is_idle(server: ServerState, grace_seconds: float) -> bool:
    if not server.joined or server.unrouted_seconds >= grace_seconds:
        return True
    return server.unrouted_seconds >= _DRAIN_LEAST_SECONDS and server.in_flight == 0
