"""How a plane is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cd4ml.cli.table import table, whole

if TYPE_CHECKING:
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import ObservedService

__all__ = ["status_lines", "status_of", "variant_lines"]


def status_of(plane: LocalPlane, service: str | None) -> dict[str, Any]:
    """Return what is known of a plane: "phase", "url", "gateway", "services"."""
    record = plane.state.record()
    names = [service] if service else plane.state.services()
    services = [plane.observe(name).to_dict() for name in names]
    if record is None:
        return {"phase": "never started", "url": "", "gateway": {}, "services": services, "error": ""}
    crashed = not record.alive and record.phase != "stopped"
    gateway = {
        "restarts": record.gateway_restarts,
        "last_exit": record.gateway_last_exit,
        "last_exit_at": record.gateway_last_exit_at,
        "admin": record.admin if record.alive else "",
    }
    return {
        "phase": "crashed" if crashed else record.phase,
        "url": record.url if record.alive else "",
        "supervisor": record.supervisor.pid if record.alive else 0,
        "gateway": gateway,
        "services": services,
        "error": record.error,
    }


def status_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what `status_of` returned, for people."""
    gateway = found["gateway"]
    crashes = (
        f"; crashed {gateway['restarts']} times, last {gateway['last_exit']}"
        if gateway.get("restarts")
        else ""
    )
    yield f"plane {found['phase']}  {found['url']}{crashes}".rstrip()
    if found["error"]:
        yield f"  {found['error']}"
    rows = [_row(service, variant) for service in found["services"] for variant in service["variants"]]
    if rows:
        headers = ("service", "variant", "version", "share", "phase", "crashes", "last exit", "at", "bundle")
        yield from table(headers, rows, whole)
    for service in found["services"]:
        yield from (f"{service['service']}: {problem}" for problem in service["problems"])
        wrong = [one for one in service["variants"] if one["error"]]
        yield from (f"{service['service']} {one['name']}: {one['error']}" for one in wrong)


def variant_lines(service: ObservedService) -> list[str]:
    """Return one line for each variant of a service."""
    return [_line(service, one) for one in service.to_dict()["variants"]]


def _line(service: ObservedService, one: dict[str, Any]) -> str:
    text = f"{service.service} {one['name']:6} {one['reference']} {one['phase']}"
    share = _share(service.to_dict(), one["name"])
    crashes = f"; crashed {one['restarts']} times, last {one['last_exit']}" if one["restarts"] else ""
    return f"{text}, {share}{crashes}" + (f"; {one['error']}" if one["error"] else "")


def _row(service: dict[str, Any], one: dict[str, Any]) -> tuple[Any, ...]:
    last = (one["restarts"], one["last_exit"], one["last_exit_at"])
    share = _share(service, one["name"])
    return (service["service"], one["name"], one["version"], share, one["phase"], *last, one["bundle"][:12])


def _share(service: dict[str, Any], name: str) -> str:
    canary, mirror = service["canary_percent"], service["mirror_percent"]
    return (
        f"{mirror:g} % copied" if name == "shadow" else f"{canary if name == 'canary' else 100 - canary:g} %"
    )
