"""Recurring runs on a Kubeflow Pipelines server: by a cron expression, or every so often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cd4ml.adapters.kubeflow.remote import Order, experiment_id
from cd4ml.adapters.kubeflow.remote_client import Server, equals
from cd4ml.errors import NotFoundError, ServiceError, UsageError, nearest

__all__ = ["Schedule", "When", "create", "delete", "list_schedules", "pause", "resume", "seconds"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CRON_FIELD = re.compile(r"(?:@?[A-Za-z0-9*?,/#-]+)")


@dataclass(frozen=True)
class When:
    """When a pipeline runs: by `cron` (6 fields, the first are seconds; UTC) or every `interval_seconds`.

    Attributes
    ----------
    catchup : bool
        Whether runs that were missed, while paused, are made up for.
    concurrency : int
        How many of its runs may be under way at once.
    start, end : str
        RFC 3339; "" for none.
    """

    cron: str = ""
    interval_seconds: int = 0
    catchup: bool = False
    concurrency: int = 1
    start: str = ""
    end: str = ""

    def __post_init__(self) -> None:
        if bool(self.cron) == bool(self.interval_seconds):
            raise UsageError("a schedule needs a cron expression or an interval, and not both")
        if self.interval_seconds < 0:
            raise UsageError(f"an interval must be positive; got {self.interval_seconds} s")
        if not 1 <= self.concurrency <= 10:
            raise UsageError(f"1 to 10 runs of a schedule may be under way at once; got {self.concurrency}")
        for moment in (self.start, self.end):
            _check_moment(moment)
        if self.cron:
            object.__setattr__(self, "cron", _six_fields(self.cron))


@dataclass(frozen=True)
class Schedule:
    """A recurring run as the server tells it."""

    schedule_id: str
    name: str
    status: str
    when: str
    version_id: str
    catchup: bool
    concurrency: int
    arguments: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(vars(self))


def seconds(text: str) -> int:
    """Return the seconds of an interval such as `30m`, `6h` or `1d`.

    Raises
    ------
    UsageError
        When it is none.
    """
    found = re.fullmatch(r"([1-9][0-9]*)([smhd])", text)
    if not found:
        raise UsageError(f"an interval is a whole number with s, m, h or d, such as 6h; got '{text}'")
    return int(found[1]) * _UNITS[found[2]]


def create(server: Server, order: Order, when: When) -> tuple[Schedule, list[str]]:
    """Make a recurring run in the place of those that have its name; return it and the ids of those.

    One that is as it is wanted, and not paused, stays. Kubeflow cannot change a recurring run: otherwise the
    new one is made first, so that there is always one; when this is interrupted the next call tidies up.

    Raises
    ------
    UsageError, ServiceError
        When the server refuses it, or cannot be reached.
    """
    group = experiment_id(server, order.experiment)
    named = [one for one in list_schedules(server) if one.name == order.name]
    kept = next((one for one in named if _is_wanted(one, order, when)), None)
    before = [one.schedule_id for one in named if one is not kept]
    if kept is not None:
        return kept, _tidied(server, before)
    api = server.client.recurring_runs
    try:
        made = server.ask(
            api.recurring_run_service_create_recurring_run, recurring_run=_body(order, when, group)
        )
    except ServiceError:
        # The answer may be lost and the schedule made. Whoever asks again finds it by its name.
        late = [one for one in list_schedules(server) if one.name == order.name]
        new = [one for one in late if one.schedule_id not in before]
        if not new:
            raise
        return new[0], _tidied(server, before)
    return _schedule(made), _tidied(server, before)


def list_schedules(server: Server) -> list[Schedule]:
    """Return the recurring runs of a server, or of the namespace, by name."""
    options = {"namespace": server.namespace} if server.namespace else {}
    call = server.client.recurring_runs.recurring_run_service_list_recurring_runs
    found = [_schedule(one) for one in server.pages(call, "recurring_runs", **options)]
    return sorted(found, key=lambda one: (one.name, one.schedule_id))


def pause(server: Server, name: str) -> Schedule:
    """Stop a recurring run, given by name or id, from starting runs."""
    found = _named(server, name)
    server.ask(server.client.recurring_runs.recurring_run_service_disable_recurring_run, found.schedule_id)
    return found


def resume(server: Server, name: str) -> Schedule:
    """Let a recurring run that was paused start runs again."""
    found = _named(server, name)
    server.ask(server.client.recurring_runs.recurring_run_service_enable_recurring_run, found.schedule_id)
    return found


def delete(server: Server, name: str) -> Schedule:
    """Remove a recurring run; the runs that it has started stay."""
    found = _named(server, name)
    server.ask(server.client.recurring_runs.recurring_run_service_delete_recurring_run, found.schedule_id)
    return found


def _is_wanted(found: Schedule, order: Order, when: When) -> bool:
    wanted = (order.version.version_id, _words(when), when.catchup, when.concurrency, dict(order.arguments))
    has = (found.version_id, found.when, found.catchup, found.concurrency, dict(found.arguments))
    return has == wanted and found.status == "ENABLED" and not (when.start or when.end)


def _words(when: When) -> str:
    return f"cron {when.cron}" if when.cron else f"every {when.interval_seconds} s"


def _tidied(server: Server, ids: list[str]) -> list[str]:
    for one in ids:
        server.ask(server.client.recurring_runs.recurring_run_service_delete_recurring_run, one)
    return ids


def _named(server: Server, name: str) -> Schedule:
    options: dict[str, Any] = {"namespace": server.namespace} if server.namespace else {}
    call = server.client.recurring_runs.recurring_run_service_list_recurring_runs
    named = server.pages(call, "recurring_runs", filter=equals(display_name=name), **options)
    found = [_schedule(one) for one in named if one.display_name == name]
    if not found:
        known = list_schedules(server)
        found = [one for one in known if one.schedule_id == name]
        if not found:
            names = sorted({one.name for one in known})
            raise NotFoundError(f"expected a schedule of {names}, found '{name}'{nearest(name, names)}")
    if len(found) > 1:
        ids = ", ".join(one.schedule_id for one in found)
        raise UsageError(f"there are {len(found)} schedules named '{name}'; give the id of one: {ids}")
    return found[0]


def _check_moment(text: str) -> None:
    try:
        known = not text or datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"a moment is RFC 3339 with a zone, such as 2026-01-31T06:00:00Z; got '{text}'")


def _six_fields(cron: str) -> str:
    """Return a cron expression with seconds, as Kubeflow wants it; one of 5 fields starts at second 0."""
    fields = cron.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    descriptor = len(fields) == 1 and fields[0].startswith("@")
    if not (descriptor or len(fields) == 6) or not all(_CRON_FIELD.fullmatch(one) for one in fields):
        raise UsageError(
            "a cron expression has 5 fields, or 6 with seconds first, such as '0 6 * * 1-5' for 06:00 UTC on "
            f"working days; got '{cron}'"
        )
    return " ".join(fields)


def _body(order: Order, when: When, group: str) -> Any:
    import kfp_server_api as api

    span = {"start_time": when.start or None, "end_time": when.end or None}
    trigger = (
        api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=when.cron, **span))
        if when.cron
        else api.V2beta1Trigger(
            periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(when.interval_seconds), **span)
        )
    )
    return api.V2beta1RecurringRun(
        display_name=order.name,
        description=f"version {order.version.name}",
        experiment_id=group,
        pipeline_version_reference=api.V2beta1PipelineVersionReference(
            pipeline_id=order.version.pipeline_id, pipeline_version_id=order.version.version_id
        ),
        runtime_config=api.V2beta1RuntimeConfig(parameters=dict(order.arguments)),
        service_account=order.service_account or None,
        max_concurrency=str(when.concurrency),
        no_catchup=not when.catchup,
        trigger=trigger,
        mode=api.RecurringRunMode.ENABLE,
    )


def _schedule(found: Any) -> Schedule:
    trigger = found.trigger
    cron = trigger.cron_schedule.cron if trigger and trigger.cron_schedule else ""
    every = trigger.periodic_schedule.interval_second if trigger and trigger.periodic_schedule else ""
    reference = found.pipeline_version_reference
    return Schedule(
        schedule_id=str(found.recurring_run_id),
        name=str(found.display_name),
        status=str(found.status or ""),
        when=f"cron {cron}" if cron else f"every {every} s",
        version_id=str(reference.pipeline_version_id) if reference else "",
        catchup=not found.no_catchup,
        concurrency=int(found.max_concurrency or 1),
        arguments=dict(found.runtime_config.parameters or {}) if found.runtime_config else {},
    )
