"""`cd4ml doctor`: what works here, what does not, and what mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.table import table, whole
from cd4ml.domain.checkup import Finding, Summary, Use, summary, uses
from cd4ml.errors import ServiceError, UsageError, nearest

__all__ = ["command"]

_SHOWN = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skipped": "skipped"}


def command(  # noqa: PLR0913, PLR0917 - options
    use: Annotated[
        str, typer.Option("--for", help="What it is wanted for: laptop, containers, cluster or ci.")
    ] = "laptop",
    area: Annotated[list[str] | None, typer.Option("--area", help="Only this area; may be repeated.")] = None,
    store: Annotated[str, typer.Option(help="A folder or s3://bucket/prefix; CD4ML_STORE by default.")] = "",
    kfp_host: Annotated[str, typer.Option(envvar="KFP_HOST", help="URL of the Kubeflow Pipelines API.")] = "",
    prometheus: Annotated[str, typer.Option(envvar="CD4ML_PROMETHEUS_URL", help="URL of a Prometheus.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Of the cluster; the usual one by default.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    namespace: Annotated[
        str, typer.Option(envvar="CD4ML_NAMESPACE", help="Where models are served on the cluster.")
    ] = "cd4ml",
    gateway: Annotated[
        str, typer.Option(envvar="CD4ML_GATEWAY", help="NAMESPACE/NAME of the Gateway of our routes.")
    ] = "",
    kserve_namespace: Annotated[str, typer.Option(help="Where KServe itself is.")] = "kserve",
    port: Annotated[
        list[int] | None,
        typer.Option(min=1, max=65535, help="A port that must be free; may be repeated."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that each check may take.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Look at this machine, the store and the cluster: what works, what does not, and what mends it.

    All checks run at once. Exit code 0: all that the use needs works. 6: what does not work is out of reach
    for now. 2: something has to be set up. Nothing is changed; a probe in the store is removed again.

    Example: cd4ml doctor --for laptop
    """
    from cd4ml.steps.doctor import Settings, examine

    chosen = next((one for one in uses() if one == use), None)
    if chosen is None:
        raise UsageError(f"--for must be one of {', '.join(uses())}; got '{use}'{nearest(use, uses())}")
    settings = Settings(
        use=chosen,
        store=store,
        kfp_host=kfp_host,
        prometheus=prometheus,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        gateway=gateway,
        system_namespace=kserve_namespace,
        ports=tuple(port or ()),
        limit_seconds=timeout,
    )
    if not as_json and sys.stderr.isatty():
        note("looking ...")
    _show(examine(settings, area or ()), chosen, as_json)


def _show(findings: Sequence[Finding], use: Use, as_json: bool) -> None:
    found = summary(use, findings)
    value = {
        "for": use,
        "findings": [finding.to_dict() for finding in findings],
        "blocking": list(found.blocking),
        "exit_code": found.exit_code,
    }
    emit(value, as_json, _lines(findings, found))
    if found.exit_code:
        error = ServiceError if found.exit_code == ServiceError.exit_code else UsageError
        raise error(f"{found.sentence}. What mends it stands behind '->'; `cd4ml doctor --json` has it too")


def _lines(findings: Sequence[Finding], found: Summary) -> Iterator[str]:
    """Yield a table by area; beneath what does not work stands what mends it."""
    for area, some in groupby(findings, key=lambda finding: finding.area):
        group = _together(list(some))
        rows = [(_SHOWN[one.status] + ("!" if one.blocks else ""), one.name, one.found) for one in group]
        yield area
        for line, one in zip(table(("", "", ""), rows, whole)[1:], group, strict=True):
            yield f"  {line}"
            if one.status != "ok":
                yield from _advice(one)
        yield ""
    if not found.blocking:
        yield found.sentence


def _together(group: list[Finding]) -> list[Finding]:
    """Return one finding for an area of which nothing could be looked at, all for the same reason."""
    first = group[0]
    same = {(one.status, one.found, one.fix, one.blocks) for one in group}
    if first.status != "skipped" or len(group) == 1 or len(same) > 1:
        return group
    return [replace(first, name=f"all {len(group)}")]


def _advice(finding: Finding) -> Iterator[str]:
    if finding.expected:
        yield f"           expected {finding.expected}"
    if finding.fix:
        yield f"           -> {finding.fix}"
