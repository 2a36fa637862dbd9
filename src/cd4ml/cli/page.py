"""`cd4ml page`: the forecast page before an endpoint."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import note
from cd4ml.errors import UsageError

__all__ = ["command"]


def command(
    endpoint: Annotated[str, typer.Option(help="Address of the server, or of the gateway before it.")] = "",
    model: Annotated[str, typer.Option(help="Its name there, as in /v1/models/NAME:predict.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; the loopback alone.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8090,
    decisions: Annotated[
        Path | None, typer.Option(help="Folder of the log of decisions (default: .cd4ml/decisions/MODEL).")
    ] = None,
    no_decisions: Annotated[
        bool, typer.Option("--no-decisions", help="Show forecasts alone and take no decisions.")
    ] = False,
    called: Annotated[
        list[str] | None, typer.Option(help="A further name by which browsers call the page.")
    ] = None,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Print the page's consumer contract for sales-forecast instead."),
    ] = False,
) -> None:
    """Serve a page on which people see forecasts with their reasons, and accept or override them.

    It asks the endpoint as any consumer does, whatever the problem is; the form is made of the contract.

    Example: cd4ml page --endpoint http://localhost:8080 --model sales-forecast --decisions decisions
    """
    if contract:
        text = resources.files("cd4ml.serving.page").joinpath("consumer.yaml").read_text(encoding="utf-8")
        typer.echo(text, nl=False)
        return
    if not endpoint or not model:
        raise UsageError("expected --endpoint and --model; see `cd4ml page --help`")
    from cd4ml.serving.page.server import serve

    note(f"forecast page for {model} at http://{host}:{http_port}; Ctrl-C ends it")
    folder = None if no_decisions else decisions or Path(".cd4ml", "decisions", model)
    serve(endpoint, model, host=host, port=http_port, decisions=folder, names=called or ())
