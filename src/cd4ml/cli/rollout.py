"""`cd4ml rollout`: a new model takes over, or is taken back, by evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.rollout_plane import (
    Adopt,
    Gateway,
    Heartbeat,
    Hosts,
    IstioGateways,
    LoggerUrl,
    Mode,
    Namespace,
    Plane,
    PrometheusLabels,
    PrometheusUrl,
    Runtime,
    Through,
    WhichPlane,
    cluster_controller,
    on_this_machine,
)
from cd4ml.cli.rollout_running import heart, local, run_controller
from cd4ml.cli.rollout_view import history_lines, panel, plan_lines, plan_of, status_lines, summary
from cd4ml.errors import NotFoundError, RolledBack, ServiceError, UsageError

if TYPE_CHECKING:
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.domain.rollout.state import Rollout
    from cd4ml.problem import Rollout as Policy

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Roll a new model out: shadow, canary, promoted or taken back by evidence.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
State = Annotated[Path, typer.Option("--state", help="The folder of the plane, as of `cd4ml serve`.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The name of a service.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history and in the audit log.")]
By = Annotated[str, typer.Option(envvar="CD4ML_ACTOR", help="Who; kept in the audit log.")]
Id = Annotated[str, typer.Option("--id", help="An earlier rollout, by its id; the newest by default.")]
Changes = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="CD4ML_ROLLOUT_POLICY",
        help="A YAML file with what differs from the problem's rollout policy.",
    ),
]
Interval = Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")]
DEFAULT_STATE = Path(".cd4ml/serve")
_SILENT_SECONDS = 60.0


@app.command()
def plan(
    name: Annotated[str, typer.Argument(metavar="SERVICE|PROBLEM", help="What serves here, or a problem.")],
    policy: Changes = None,
    requests_per_second: Annotated[
        float | None, typer.Option(min=0, help="The traffic; by default what the gateway's log says.")
    ] = None,
    error_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="The share of requests that fail; 0.01 is 1 %.")
    ] = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Say how many requests and hours each step needs; refuse a policy that can never decide (exit code 2).

    Example: cd4ml rollout plan bike-demand --requests-per-second 20 --error-rate 0.01
    """
    from dataclasses import replace

    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.domain.rollout.planned import Load, plan_steps, refusal
    from cd4ml.steps.rollout import measured_load

    plane = LocalPlane(state)
    rules = _policy(plane, name, policy)
    if requests_per_second is None:
        load = measured_load(plane, name, rules)
        load = load if error_rate is None else replace(load, error_fraction=error_rate)
    else:
        load = Load(requests_per_second, error_rate or 0.0)
    steps = plan_steps(rules, load)
    wrong = refusal(rules, load)
    shown = {
        "requests_per_second": load.requests_per_second,
        "error_fraction": load.error_fraction,
        "steps": [plan_of(one) for one in steps],
        "refused": wrong,
    }
    traffic = f"{load.requests_per_second:.3g} requests a second, {100 * load.error_fraction:.3g} % fail"
    emit(shown, as_json, [traffic, *plan_lines(steps)])
    if wrong:
        raise UsageError(wrong)


@app.command()
def start(  # noqa: PLR0913, PLR0917 - options
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME@3, NAME@latest or a bundle's folder.")],
    service: Annotated[str, typer.Option(help="The service; the model's name by default.")] = "",
    policy: Changes = None,
    run_here: Annotated[
        bool, typer.Option("--run", help="Also be its controller, until it has ended.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Also start its controller in the background.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what was refused; needs --reason.")] = False,
    reason: Reason = "",
    by: By = "",
    interval: Interval = 1.0,
    state: State = DEFAULT_STATE,
    which: WhichPlane = Plane.LOCAL,
    as_json: Json = False,
) -> None:
    """Start to roll a model out in place of what serves; the same again while it runs changes nothing.

    A version whose verdict is reject, or that waits for its approval, is refused with exit code 3.

    Example: cd4ml rollout start bike-demand@latest --run
    """
    from cd4ml.steps.rollout import rollout_status

    if run_here and detach:
        raise UsageError("--run stays here and --detach goes away; say one of them")
    if which is Plane.KSERVE:
        on_this_machine(run_here=run_here, detach=detach, force=force)
        found = _started_on_cluster(model, service, policy, by)
    else:
        found = _started_here(state, model, service, policy, (force, reason, by))
    if detach:
        _in_background(state, found.service, interval)
    if run_here:
        note(summary(rollout_status(found.service, found.id)))
        run_controller(local(state), [found.service], interval, until_ended=True)
    status_now = rollout_status(found.service, found.id)
    more = [] if run_here or detach else ["`cd4ml rollout run` moves it on, `cd4ml rollout watch` shows it"]
    emit(status_now, as_json, [summary(status_now), *more])
    if run_here:
        _end(status_now)


def _started_here(
    state: Path, model: str, service: str, policy: Path | None, asked: tuple[bool, str, str]
) -> Rollout:
    from cd4ml.cli.model_reference import split_reference
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.steps.rollout import start_rollout
    from cd4ml.steps.serve import Permission

    source = split_reference(model)
    return start_rollout(LocalPlane(state), source, service, Permission(*asked), policy).rollout


def _started_on_cluster(model: str, service: str, policy: Path | None, by: str) -> Rollout:
    from cd4ml.cli.model_reference import split_reference
    from cd4ml.steps.rollout_cluster import start_on_cluster

    source = split_reference(model)
    if isinstance(source, Path):
        raise UsageError(
            f"a cluster serves what is in the registry, and '{model}' is a folder; push it first"
        )
    return start_on_cluster(*source, service, changes=policy, by=by).rollout


@app.command()
def run(  # noqa: PLR0913, PLR0917 - options
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="These alone; all by default.")
    ] = None,
    interval: Interval = 1.0,
    until_ended: Annotated[
        bool, typer.Option("--until-ended", help="Stop when the rollouts of these services have ended.")
    ] = False,
    state: State = DEFAULT_STATE,
    heartbeat: Heartbeat = None,
    which: WhichPlane = Plane.LOCAL,
    namespace: Namespace = "",
    gateway: Gateway = "",
    istio_gateways: IstioGateways = None,
    hosts: Hosts = None,
    mode: Mode = "",
    runtime: Runtime = "",
    logger_url: LoggerUrl = "",
    adopt: Adopt = False,
    prometheus_url: PrometheusUrl = "",
    prometheus_labels: PrometheusLabels = None,
    through: Through = "",
) -> None:
    """Be the controller of rollouts until Ctrl-C: look, decide, act. It may be killed and started anywhere.

    Example: cd4ml rollout run
    """
    from cd4ml.delivery.kserve.settings import KServeSettings

    if until_ended and not services:
        raise UsageError("--until-ended needs the names of services")
    if which is Plane.LOCAL:
        controller = local(state)
    else:
        settings = KServeSettings(
            namespace,
            mode=mode,
            runtime=runtime,
            logger_url=logger_url,
            gateway=gateway,
            istio_gateways=tuple(istio_gateways or ()),
            hosts=tuple(hosts or ()),
            adopt=adopt,
        )
        controller = cluster_controller(settings, prometheus_url, prometheus_labels or (), state, through)
    run_controller(controller, services or [], interval, until_ended, heart(heartbeat))


@app.command()
def status(
    service: Service,
    rollout_id: Id = "",
    html: Annotated[Path | None, typer.Option(help="Also write a page with the evidence as it grew.")] = None,
    as_json: Json = False,
) -> None:
    """Show where a rollout stands, what it waits for, and its evidence.

    Example: cd4ml rollout status bike-demand
    """
    from cd4ml.steps.rollout import rollout_status

    found = rollout_status(service, rollout_id)
    if html is not None:
        _write_page(found, html)
    emit(found, as_json, status_lines(found))


@app.command()
def watch(
    service: Service,
    rollout_id: Id = "",
    interval: Interval = 1.0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to watch; 0 until it has ended.")] = 0.0,
    html: Annotated[Path | None, typer.Option(help="Keep a page up to date with the evidence.")] = None,
    as_json: Json = False,
) -> None:
    """Follow a rollout until it has ended: exit code 0 promoted, 5 taken back, 6 nobody looks after it.

    Example: cd4ml rollout watch bike-demand
    """
    found = _followed(service, rollout_id, interval, timeout, html)
    emit(found, as_json, [summary(found)])
    _end(found)


@app.command()
def history(service: Service, rollout_id: Id = "", as_json: Json = False) -> None:
    """List a service's rollouts, or with --id all that one of them went through and why.

    Example: cd4ml rollout history bike-demand
    """
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.rollout import rollout_status

    store = RolloutStore(open_store())
    store.current(service)
    ids = [rollout_id] if rollout_id else store.ids(service)
    found = [rollout_status(service, one) for one in ids]
    found.sort(key=lambda one: [entry["at_seconds"] for entry in one["rollout"]["history"][:1]])
    rollouts = [one["rollout"] for one in found]
    lines = [line for one in found for line in (summary(one), *history_lines(one["rollout"]["history"]))]
    emit(rollouts, as_json, lines)


def _command(asked: str, text: str, example: str) -> None:
    def ask(service: Service, reason: Reason = "", by: By = "", as_json: Json = False) -> None:
        from dataclasses import asdict

        from cd4ml.steps.rollout import ask_rollout

        found = ask_rollout(service, asked, reason, by)
        emit(
            asdict(found),
            as_json,
            [f"{service}: {asked} is asked; the controller takes it up at its next look"],
        )

    ask.__doc__ = f"{text}\n\nExample: cd4ml rollout {asked} {example}"
    app.command(asked)(ask)


for _asked, _text, _example in (
    ("pause", "Hold a rollout where it is, whatever its evidence says.", 'shop --reason "a fair is on"'),
    ("resume", "Let a paused rollout go on.", "shop"),
    ("skip", "Go to the next step without more evidence.", 'shop --reason "measured elsewhere"'),
    ("approve", "Say yes to a promotion that waits for a person.", 'shop --reason "agreed with sales"'),
    ("promote", "Give the candidate all requests now.", 'shop --reason "the old one is broken"'),
    ("rollback", "Take the candidate back now.", 'shop --reason "customers complain"'),
    ("abort", "End the rollout; the stable version answers all again.", 'shop --reason "wrong version"'),
):
    _command(_asked, _text, _example)


def _policy(plane: LocalPlane, name: str, changes: Path | None) -> Policy:
    from cd4ml.adapters.problem_files import load
    from cd4ml.problem import Rollout as Policy
    from cd4ml.steps.rollout import changed_policy, policy_of

    served = plane.state.desired(name) if "/" not in name and "." not in name else None
    if served is not None:
        return policy_of(Path(served[0].stable.location), changes)
    try:
        problem = load(name)
    except NotFoundError as error:
        raise NotFoundError(
            f"'{name}' is neither a service of '{plane.state.root}' nor a problem: {error}"
        ) from error
    return (
        changed_policy(problem.rollout.model_dump(), changes)
        if changes
        else Policy.model_validate(problem.rollout)
    )


def _in_background(state: Path, service: str, interval: float) -> None:
    import subprocess

    log = state.expanduser().absolute() / "logs" / f"rollout.{service}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["rollout", "run", service, "--until-ended", "--interval", str(interval), "--state", str(state)]
    words += ["--plane", "local"]
    with log.open("ab") as output:
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "cd4ml.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _followed(
    service: str, rollout_id: str, interval: float, timeout: float, html: Path | None
) -> dict[str, Any]:
    """Show a rollout until it has ended, or nobody has looked after it for a while; return it."""
    import time

    from rich.console import Console
    from rich.live import Live

    from cd4ml.steps.rollout import rollout_status

    found = rollout_status(service, rollout_id)
    rollout_id = found["rollout"]["id"]
    console = Console(stderr=True)
    began = looked = time.monotonic()
    said: object = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            found = rollout_status(service, rollout_id)
            key = (found["rollout"]["phase"], found["rollout"]["step"], found["rollout"]["waiting"])
            if console.is_terminal:
                live.update(panel(found), refresh=True)
            elif said != key:
                waits = "; ".join(found["rollout"]["waiting"])
                note(summary(found) + (f"; waits: {waits}" if waits else ""))
            said = key
            if html is not None:
                _write_page(found, html)
            now = time.monotonic()
            looked = now if found["controller"] else looked
            over = timeout and now - began >= timeout
            if found["ended"] or over or now - looked >= _SILENT_SECONDS:
                return found
            time.sleep(interval)


def _write_page(found: dict[str, Any], path: Path) -> None:
    from cd4ml.adapters.storage import atomic
    from cd4ml.reports.rollout_page import rollout_page

    atomic.write_text(path, rollout_page(found))


def _end(found: dict[str, Any]) -> None:
    """End with the exit code of what became of a rollout."""
    rollout = found["rollout"]
    if not found["ended"]:
        who = f"'{found['controller']}' looks after it" if found["controller"] else "nobody looks after it"
        raise ServiceError(
            f"the rollout {rollout['id']} of '{rollout['service']}' has not ended ({rollout['phase']}), and"
            f" {who}; `cd4ml rollout run` moves it on"
        )
    if rollout["phase"] != "promoted":
        why = "; ".join(rollout["history"][-1]["reasons"])
        raise RolledBack(f"{rollout['service']}: {rollout['candidate']['reference']} {_word(rollout)}: {why}")


def _word(rollout: dict[str, Any]) -> str:
    return "was taken back" if rollout["phase"] == "rolled_back" else "was aborted"
