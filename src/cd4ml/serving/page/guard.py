"""What keeps other sites away from the page: its names, its headers, and where decisions come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "same_origin"]

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # A form that is sent without a referrer says that it comes from nowhere.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - compared with, not listened on


def same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from a page of this very server.

    A browser says so in `Origin`, or where it sends none in `Sec-Fetch-Site`; who says nothing is refused.
    """
    origin = headers.get("origin")
    if origin is not None:
        return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == headers.get("host")
    return headers.get("sec-fetch-site") == "same-origin"


class Guard:
    """Sets the headers of each answer, and refuses a `Host` by which nobody calls this page.

    Else a foreign name that is made to lead here would be of the same origin (DNS rebinding).

    Parameters
    ----------
    hosts : sequence of str
        Names beside those of the loopback; one of 0.0.0.0, :: or * takes any.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._any = bool(_EVERYWHERE & set(hosts))
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse, one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name for name, _ in message["headers"]}
                added = [(name.encode(), text.encode()) for name, text in _with_cache().items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in have)]
            await send(message)

        if self._any or _named(scope) in self._hosts:
            await self._app(scope, receive, guarded)
            return
        text = "This page is not called by that name; its `--called` option adds one.\n"
        await Response(text, 421, media_type="text/plain")(scope, receive, guarded)


def _with_cache() -> dict[str, str]:
    return {**HEADERS, "cache-control": "no-store"}


def _named(scope: Scope) -> str:
    """Return the name in `Host`, without its port."""
    text = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    try:
        return (urlsplit(f"//{text}").hostname or "").lower()
    except ValueError:
        return ""
