"""`cd4ml serve`: models behind a gateway on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cd4ml.cli.console import emit, note
from cd4ml.cli.serve_view import status_lines, status_of, variant_lines
from cd4ml.errors import Cd4mlError, UsageError

if TYPE_CHECKING:
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import Variant
    from cd4ml.steps.serve import Permission

__all__ = ["app"]


class _Serve(TyperGroup):
    """`cd4ml serve MODEL` is `cd4ml serve start MODEL`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Serve,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Serve models on this machine: a gateway, and servers of stable, canary and shadow behind it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
State = Annotated[Path, typer.Option("--state", help="The folder of this plane.")]
Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="The name of a service; a model's, by default.")
]
Force = Annotated[bool, typer.Option("--force", help="Also what was refused; needs --reason.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="CD4ML_ACTOR", help="Who; kept in the audit log.")]
Canary = Annotated[str | None, typer.Option(help="The model of the canary; 'none' takes it away.")]
Weight = Annotated[float | None, typer.Option(help="Percent of the requests that the canary answers.")]
Shadow = Annotated[str | None, typer.Option(help="The model of the shadow; 'none' takes it away.")]
Mirror = Annotated[
    float | None, typer.Option(help="Percent of the requests of which the shadow gets a copy.")
]
Sticky = Annotated[
    str | None,
    typer.Option(help="header:NAME or cookie:NAME: equal values go to the same variant; 'none' by chance."),
]
DEFAULT_STATE = Path(".cd4ml/serve")


@app.command()
def start(  # noqa: PLR0913, PLR0917 - options
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="NAME, NAME@champion, NAME:3, the folder of a bundle; SERVICE=MODEL."
        ),
    ],
    canary: Canary = None,
    weight: Weight = None,
    shadow: Shadow = None,
    mirror: Mirror = None,
    sticky: Sticky = None,
    history: Annotated[Path | None, typer.Option(help="A newer history table of the stable model.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the gateway; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address of the gateway.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes of each model server.")] = 1,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until all must be ready.")] = 120.0,
    force: Force = False,
    reason: Reason = "",
    by: By = "",
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Serve models until Ctrl-C: `cd4ml serve MODEL` is the same.

    A version whose verdict is reject, or that waits for its approval, is refused with exit code 3.

    Example: cd4ml serve bike-demand@champion --shadow bike-demand@latest --mirror 100
    """
    from cd4ml.adapters.envoy import GatewaySettings, find_envoy
    from cd4ml.delivery.local.model_server import ServerSettings
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.local.supervisor import PlaneSettings
    from cd4ml.steps.serve import Changes, Permission

    if len(models) > 1 and any((canary, weight, shadow, mirror, history)):
        raise UsageError("--canary, --shadow and their like are for one MODEL; start, then `cd4ml serve set`")
    find_envoy()
    plane, permission = LocalPlane(state), Permission(force, reason, by)
    _must_be_free(plane)
    settings = PlaneSettings(GatewaySettings(_address(host), port), ServerSettings(workers))
    stables = _stables(models, plane, permission, history)
    changes = {name: Changes(variant, sticky=_none(sticky)) for name, variant in stables.items()}
    for name in stables if len(stables) == 1 else ():
        more = _variants(name, plane, permission, None, canary, shadow)
        changes[name] = replace(changes[name], **more, weight=weight, mirror=mirror)
    _record(plane, changes)
    if detach:
        _detached(plane, settings, list(changes), timeout, as_json)
    else:
        _foreground(plane, settings)


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917 - options
    service: Service,
    stable: Annotated[str | None, typer.Option(help="The model of the stable variant.")] = None,
    canary: Canary = None,
    weight: Weight = None,
    shadow: Shadow = None,
    mirror: Mirror = None,
    sticky: Sticky = None,
    history: Annotated[Path | None, typer.Option(help="A newer history table of the stable model.")] = None,
    salt: Annotated[
        str | None, typer.Option(help="Another one: other callers meet the canary first.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Until servers and gateway do it.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 120.0,
    force: Force = False,
    reason: Reason = "",
    by: By = "",
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Change models, weights and mirroring of a service that runs, without losing a request.

    What is not named stays. "@5" stands for version 5 of the service's own model.

    Example: cd4ml serve set bike-demand --canary @5 --weight 10
    """
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.steps.rollout import must_not_run
    from cd4ml.steps.serve import Changes, Permission, change_service, with_history

    plane = LocalPlane(state)
    if not force:
        must_not_run(service, "what is changed by hand")
    found = _variants(service, plane, Permission(force, reason, by), stable, canary, shadow)
    if history is not None:
        found["stable"] = with_history(found.get("stable") or _stable_now(plane, service), history)
    changes = Changes(**found, weight=weight, mirror=mirror, sticky=_none(sticky), salt=salt)
    desired = change_service(plane, service, changes)
    if wait:
        observed = plane.wait(service, timeout)
        emit(observed.to_dict(), as_json, variant_lines(observed))
        return
    emit(desired.to_dict(), as_json, [f"{service}: recorded; `cd4ml serve status` says when it is done"])


@app.command()
def status(
    service: Annotated[str | None, typer.Argument(metavar="SERVICE", help="One alone.")] = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Show gateway, services and servers: versions, shares, crashes. Exit code 6: the plane does not run.

    Example: cd4ml serve status
    """
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.errors import ServiceError

    plane = LocalPlane(state)
    found = status_of(plane, service)
    emit(found, as_json, status_lines(found))
    if found["phase"] in ("crashed", "stopped", "never started"):
        raise ServiceError(
            f"the plane in '{state}' does not run ({found['phase']}); start it with `cd4ml serve`"
        )


@app.command("stop")
def stop_(
    timeout: Annotated[float, typer.Option(help="Seconds for what is under way.")] = 60.0,
    state: State = DEFAULT_STATE,
) -> None:
    """End gateway and servers; requests under way are answered first.

    Example: cd4ml serve stop
    """
    from cd4ml.delivery.local.plane import LocalPlane

    ended = LocalPlane(state).stop(timeout)
    emit(None, False, ["stopped" if ended else "nothing was running"])


@app.command()
def remove(service: Service, state: State = DEFAULT_STATE) -> None:
    """End one service; the others go on.

    Example: cd4ml serve remove bike-demand
    """
    from cd4ml.delivery.local.plane import LocalPlane

    plane = LocalPlane(state)
    plane.observe(service)
    plane.remove(service)
    emit(None, False, [f"{service}: its servers end when their requests are answered"])


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="SERVICE.VARIANT, gateway, access or supervisor; none lists them.")
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many, the last ones.")] = 50,
    state: State = DEFAULT_STATE,
) -> None:
    """Show the last lines of a log; `access` has one JSON line for each request.

    Example: cd4ml serve logs bike-demand.stable -n 20
    """
    from cd4ml.delivery.local.state import PlaneState
    from cd4ml.errors import NotFoundError, nearest

    folder = PlaneState(state).logs
    known = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in (".log", ".jsonl")}
    if not name:
        emit(None, False, known or ["there are no logs yet"])
        return
    if name not in known:
        raise NotFoundError(
            f"'{folder}' has no log '{name}'; it has {', '.join(known)}{nearest(name, known)}"
        )
    with known[name].open("rb") as file:
        file.seek(max(0, known[name].stat().st_size - lines * 2000))
        emit(None, False, file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _fetch(
    model: str,
    plane: LocalPlane,
    role: str,
    permission: Permission,
    service: str,
    history: Path | None = None,
) -> tuple[str, Variant]:
    """Return the service and the variant that SERVICE=MODEL, or MODEL, names."""
    from cd4ml.cli.model_reference import split_reference
    from cd4ml.steps.serve import fetch_variant

    told, separator, reference = model.partition("=")
    if not separator or Path(model).is_dir():
        told, reference = service, model
    if service and reference.startswith("@"):
        reference = service + reference
    if "@" not in reference and ":" in reference and not Path(reference).is_dir():
        reference = "@".join(reference.rsplit(":", 1))
    name, variant = fetch_variant(split_reference(reference), plane.state.bundles, role, permission, history)
    return told or name, variant


def _stables(
    models: list[str], plane: LocalPlane, permission: Permission, history: Path | None
) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    for model in models:
        name, variant = _fetch(model, plane, "stable", permission, "", history)
        if name in found:
            raise UsageError(f"'{name}' is named twice; write SERVICE=MODEL to tell them apart")
        found[name] = variant
    return found


def _variants(
    service: str,
    plane: LocalPlane,
    permission: Permission,
    stable: str | None,
    canary: str | None,
    shadow: str | None,
) -> dict[str, Any]:
    """Return the variants that were named; "" for one that shall go."""
    found: dict[str, Any] = {}
    for role, model in (("stable", stable), ("canary", canary), ("shadow", shadow)):
        if model == "none" and role != "stable":
            found[role] = ""
        elif model is not None:
            found[role] = _fetch(model, plane, role, permission, service)[1]
    return found


def _stable_now(plane: LocalPlane, service: str) -> Variant:
    from cd4ml.errors import NotFoundError

    found = plane.state.desired(service)
    if found is None:
        raise NotFoundError(f"the plane has no service '{service}'; give it a stable model with --stable")
    return found[0].stable


def _must_be_free(plane: LocalPlane) -> None:
    record = plane.state.record()
    if record is not None and record.alive:
        raise UsageError(
            f"the plane in '{plane.state.root}' runs already at {record.url or 'a port to come'}; change it"
            " with `cd4ml serve set`, end it with `cd4ml serve stop`, or name another folder with --state"
        )


def _record(plane: LocalPlane, changes: dict[str, Any]) -> None:
    """Make these services, and no others, what the plane shall have."""
    from cd4ml.delivery.plane import DesiredService
    from cd4ml.steps.serve import change_service

    for service in set(plane.state.services()) - set(changes):
        plane.remove(service)
    for service, change in changes.items():
        # What an earlier plane did with its canary is over.
        before = plane.state.desired(service)
        fence = before[0].fence if before else 0
        plane.apply(service, DesiredService(service, change.stable, fence=fence))
        change_service(plane, service, change)


def _foreground(plane: LocalPlane, settings: Any) -> None:
    from cd4ml.delivery.local.supervisor import Supervisor

    said: list[str] = []

    def tell(record: Any, services: list[Any]) -> None:
        lines = [f"gateway {record.phase} {record.url}".rstrip()]
        lines += [line for service in services for line in variant_lines(service)]
        for line in lines:
            if line not in said:
                note(line)
        said[:] = lines

    Supervisor(plane.state.root, settings, tell).run()


def _detached(plane: LocalPlane, settings: Any, services: list[str], timeout: float, as_json: bool) -> None:
    from cd4ml.delivery.local.background import start_in_background

    start_in_background(plane, settings, timeout)
    try:
        found = [plane.wait(service, timeout) for service in services]
    except Cd4mlError:
        plane.stop(timeout)
        raise
    lines = [line for one in found for line in variant_lines(one)]
    lines += [f"gateway {found[0].url}", "`cd4ml serve stop` ends it"]
    emit(status_of(plane, None), as_json, lines)


def _address(host: str) -> str:
    import ipaddress

    address = "127.0.0.1" if host == "localhost" else host
    try:
        here = ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise UsageError(
            f"--host must be an IP address, such as 127.0.0.1 or 0.0.0.0; got '{host}'"
        ) from None
    if not here:
        note(f"warning: --host {host} lets other machines call the gateway, without encryption or a password")
    return address


def _none(told: str | None) -> str | None:
    return "" if told == "none" else told
