"""The page's own small server: it asks the endpoint, shows the answer, and keeps what was decided."""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from cd4ml.errors import Cd4mlError, ServiceError, UsageError
from cd4ml.serving.page.decisions import AlreadyDecided, Decision, DecisionLog
from cd4ml.serving.page.endpoint import Endpoint, Forecast, Known, Refused
from cd4ml.serving.page.form import LISTED, Filled, defaults, read_row
from cd4ml.serving.page.guard import Guard, same_origin
from cd4ml.serving.page.view import Deciding, message_page, page

__all__ = ["build_app", "main", "serve"]

_KEPT_FORECASTS = 2000
_MOST_FORM_BYTES = 20_000
_MOST_REASON = 500
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FILES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


def build_app(endpoint: Endpoint, log: DecisionLog | None = None, hosts: Sequence[str] = ()) -> Starlette:
    """Return the page as an application.

    Parameters
    ----------
    log : DecisionLog, optional
        Without one nothing can be decided.
    hosts : sequence of str
        Names by which the page may be called; by default those of the loopback. "*" takes any.
    """
    made = _Page(endpoint, log)

    @asynccontextmanager
    async def life(_: Starlette) -> Any:
        yield
        await endpoint.close()

    routes = [
        Route("/", made.start, methods=["GET"]),
        Route("/forecast", made.forecast, methods=["GET"]),
        Route("/forecasts/{id}", made.again, methods=["GET"]),
        Route("/decisions", made.decide, methods=["POST"]),
        Route("/choices/{field}", made.choices, methods=["GET"]),
        Route("/healthz", _healthy, methods=["GET"]),
        *(Route(f"/{name}", _file, methods=["GET"]) for name in _FILES),
    ]
    return Starlette(routes=routes, lifespan=life, middleware=[Middleware(Guard, hosts=tuple(hosts))])


async def _healthy(_: Request) -> Response:
    return Response("ok", media_type="text/plain")


async def _file(request: Request) -> Response:
    name = request.url.path[1:]
    text = resources.files("cd4ml.serving.page").joinpath(name).read_text(encoding="utf-8")
    return Response(text, headers={"content-type": _FILES[name], "cache-control": "no-cache"})


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, headers={"content-type": "text/html; charset=utf-8"})


def _told(act: Callable[[_Page, Request], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Turn an endpoint or a log that fails into a page that says so."""

    async def tell(self: _Page, request: Request) -> Response:
        try:
            return await act(self, request)
        except ServiceError as error:
            return _html(message_page("No forecast now", f"{error}."), 502)

    return tell


class _Page:
    def __init__(self, endpoint: Endpoint, log: DecisionLog | None) -> None:
        self._endpoint, self._log = endpoint, log
        self._forecasts: OrderedDict[str, Forecast] = OrderedDict()

    @_told
    async def start(self, request: Request) -> Response:
        known = await self._endpoint.known()
        filled = Filled(defaults(known), await self._listed(known, {}))
        return _html(page(known, filled))

    @_told
    async def forecast(self, request: Request) -> Response:
        known = await self._endpoint.known()
        given = dict(request.query_params)
        choices = await self._listed(known, given)
        try:
            found = await self._endpoint.ask(read_row(known, given), known)
        except Refused as error:
            return _html(page(known, Filled(given, choices, error)), 422)
        self._forecasts[found.id] = found
        while len(self._forecasts) > _KEPT_FORECASTS:
            self._forecasts.popitem(last=False)
        return _html(page(known, Filled(given, choices), found, Deciding(self._log is not None)))

    @_told
    async def again(self, request: Request) -> Response:
        """Show a forecast that was made, with what was decided."""
        found = self._forecasts.get(str(request.path_params["id"]))
        if found is None:
            return _forgotten()
        made = None if self._log is None else await asyncio.to_thread(self._log.find, found.id)
        return await self._show(found, Deciding(self._log is not None, made))

    @_told
    async def decide(self, request: Request) -> Response:
        if not same_origin(request.headers):
            return _html(message_page("Refused", "A decision is sent from this page itself alone."), 403)
        given = await _form(request)
        found = self._forecasts.get(given.get("id", ""))
        if self._log is None or given.get("decision") not in ("accepted", "overridden"):
            return _html(
                message_page("Refused", "Decisions are accepted or overridden, where they are kept."), 400
            )
        if found is None:
            return _forgotten()
        reason, text = given.get("reason", "").strip()[:_MOST_REASON], given.get("value", "").strip()
        value, error = found.prediction, ""
        if given["decision"] == "overridden":
            value, error = _number(text, found.known)
        if error:
            shown = Deciding(True, value=text[:60], reason=reason, error=error)
            return await self._show(found, shown, 422)
        decision = _decision(found, given["decision"], value, reason)
        try:
            await asyncio.to_thread(self._log.record, decision)
        except AlreadyDecided as first:
            notice = "It was decided before, and stays as it was."
            return await self._show(found, Deciding(True, first.first, notice=notice), 409)
        return RedirectResponse(f"/forecasts/{found.id}#decision", 303)

    async def choices(self, request: Request) -> Response:
        field, contains = str(request.path_params["field"]), request.query_params.get("contains", "")[:100]
        try:
            found = await self._endpoint.choices(field, contains, LISTED)
        except ServiceError:
            found = []
        return JSONResponse({"choices": found})

    async def _show(self, found: Forecast, deciding: Deciding, status: int = 200) -> Response:
        given = {name: _written(value) for name, value in found.row.items()}
        filled = Filled(given, await self._listed(found.known, given))
        return _html(page(found.known, filled, found, deciding), status)

    async def _listed(self, known: Known, given: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        """Return the first known values of each field; where there are many, those near what is there."""
        fields = known.contract["inputs"]["properties"]
        names = [name for name in known.choices if name in fields and "enum" not in fields[name]]
        asked = [
            self._endpoint.choices(
                name, given.get(name, "")[:100] if known.choices[name] > LISTED else "", LISTED
            )
            for name in names
        ]
        return dict(zip(names, await asyncio.gather(*asked), strict=True))


def _forgotten() -> Response:
    text = (
        "This forecast is not known any more; ask for it again. What was decided is in the log all the same."
    )
    return _html(message_page("Forgotten", text), 404)


def _written(value: Any) -> str:
    """Return a value as its control has it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    return {name: values[0] for name, values in fields.items()}


def _number(text: str, known: Known) -> tuple[float, str]:
    """Return the number in the place of a forecast, and what is wrong with it."""
    output = known.contract["output"]
    low, high = output.get("minimum"), output.get("maximum")
    allowed = "a number" + (f" from {low:g}" if low is not None else "")
    allowed += f" up to {high:g}" if high is not None else ""
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
    good = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    return value, "" if good else f"It must be {allowed}; found {text[:60] or 'nothing'}."


def _decision(found: Forecast, decision: Any, value: float, reason: str) -> Decision:
    output: dict[str, Any] = dict(found.outputs)
    if found.interval is not None:
        output["interval"] = dict(found.interval)
    about = (found.id, found.model, found.version, found.variant)
    return Decision(*about, dict(found.row), output, decision, value, reason)


def serve(
    url: str,
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    decisions: Path | None = None,
    names: Sequence[str] = (),
) -> None:
    """Serve the page until SIGTERM or Ctrl-C.

    Parameters
    ----------
    url, model : str
        The endpoint, and the model's name there.
    decisions : Path, optional
        Folder of the log of decisions.
    names : sequence of str
        Further names by which the page is called, e.g. that of the machine.

    Raises
    ------
    UsageError
        If the address is none.
    ServiceError
        If the folder cannot be written.
    """
    import uvicorn

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"expected an address such as http://localhost:8080; found '{url}'")
    log = None if decisions is None else DecisionLog(decisions)
    app = build_app(Endpoint(url, model), log, (*names, host))
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cd4ml.serving.page", description="Serve the forecast page."
    )
    parser.add_argument("--endpoint", required=True, help="address of the server or of the gateway")
    parser.add_argument("--model", required=True, help="as in /v1/models/NAME:predict")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback alone)")
    parser.add_argument("--http-port", type=int, default=8090)
    parser.add_argument(
        "--decisions", type=Path, help="folder of the log of decisions (default: none is kept)"
    )
    parser.add_argument(
        "--called", action="append", default=[], help="further name of this page, e.g. a host's"
    )
    options = parser.parse_args(argv)
    try:
        serve(
            options.endpoint,
            options.model,
            host=options.host,
            port=options.http_port,
            decisions=options.decisions,
            names=options.called,
        )
    except Cd4mlError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0
