"""`cd4ml models events` and `follow`: models as data, for those who predict within their own programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import open_registry
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.registry_events import Cursor, ModelFeed
    from cd4ml.models.follow import Followed

__all__ = ["events", "follow"]

PollSeconds = Annotated[float, typer.Option(min=0.01, help="Between two looks at the store.")]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def events(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all by default.")] = None,
    since: Annotated[str, typer.Option(metavar="CURSOR", help="Begin after this; 0.0 is the start.")] = "0.0",
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events happen, until Ctrl-C.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve them over HTTP instead; port 0 takes a free one."),
    ] = None,
    poll_seconds: PollSeconds = 1.0,
) -> None:
    """Print what happened to models: versions registered and aliases moved, one JSON object a line.

    With --listen they are served as Server-Sent Events at /models/NAME/events, and the first line printed is
    the address. There is no password: give no address but loopback unless the network is yours.

    Example: cd4ml models events sales-forecast --follow
    """
    if listen is not None:
        if name is not None or follow or since != "0.0":
            raise UsageError("--listen serves all models; leave out NAME, --since and --follow")
        _listen(listen, poll_seconds)
        return
    _print_events(open_registry(), name, since, poll_seconds if follow else None)


def follow(
    reference: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Such as sales-forecast@champion.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for this alias alone.")] = Path(
        "followed"
    ),
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    events_url: Annotated[
        str | None, typer.Option("--events", metavar="URL", help="Of `cd4ml models events --listen`.")
    ] = None,
    poll_seconds: PollSeconds = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Keep a link `current` in a folder pointing at the newest verified bundle that an alias names.

    The link moves in one step, when manifest and signature have held and callers of the version before may
    call the new one. A version that is refused, and a store that is away, are told on stderr; the link stays.
    With --once the exit code then is 4 or 6.

    Example: cd4ml models follow sales-forecast@champion --out model
    """
    from cd4ml.models.follow import FolderFollower

    def said(new: Followed, old: Followed | None) -> None:
        told = {**vars(new), "from": old.version if old else None, "path": str(out / "current")}
        line = f"{reference}: version {new.version}, bundle {new.bundle[:12]}, at {out / 'current'}"
        emit(None, False, [json.dumps(told, sort_keys=True) if as_json else line])

    follower = FolderFollower(
        reference,
        out,
        events_url=events_url,
        poll_seconds=poll_seconds,
        on_swap=said,
        on_problem=lambda problem: note(f"warning: {problem}"),
    )
    with follower:
        if once:
            follower.check()
            return
        _until_interrupted()


def _until_interrupted() -> None:
    while True:
        time.sleep(3600)


def _print_events(registry: Registry, name: str | None, since: str, poll_seconds: float | None) -> None:
    from cd4ml.adapters.registry_events import Cursor, ModelFeed

    start = Cursor.parse(since)
    feeds: dict[str, ModelFeed] = {}
    cursors: dict[str, Cursor] = {}
    if name is not None:
        registry.get(name)
    while True:
        for model in [name] if name is not None else registry.models():
            feed = feeds.setdefault(model, ModelFeed(registry, model))
            found = _print_new(feed, cursors.get(model, start))
            if found is None:
                return
            cursors[model] = found
        if poll_seconds is None:
            return
        time.sleep(poll_seconds)


def _print_new(feed: ModelFeed, cursor: Cursor) -> Cursor | None:
    """Print the events after a cursor and return where to go on; None when nobody reads any more."""
    feed.poll()
    while found := feed.since(cursor):
        if not emit(None, False, _lines(event.to_dict() for event in found)):
            return None
        cursor = found[-1].cursor
    return cursor


def _lines(values: Iterable[dict[str, Any]]) -> list[str]:
    return [json.dumps(value, sort_keys=True) for value in values]


def _listen(address: str, poll_seconds: float) -> None:
    try:
        from cd4ml.serving.registry_stream import StreamLimits, listening_socket, serve_events
    except ImportError as error:
        raise UsageError(f"--listen needs a web server ({error}); pip install 'cd4ml[serve]'") from error
    host, separator, port = address.rpartition(":")
    host = host.strip("[]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"expected HOST:PORT such as 127.0.0.1:9000; found '{address}'")
    registry = open_registry()
    listener = listening_socket(host, int(port))
    if host not in _LOOPBACK:
        note(f"warning: whoever reaches {host} can read which versions there are; there is no password")
    shown = f"[{host}]" if ":" in host else host
    emit(None, False, [f"http://{shown}:{listener.getsockname()[1]}"])
    serve_events(registry, listener, StreamLimits(poll_seconds=poll_seconds))
