"""Prometheus: asked over its HTTP API, or what it would scrape read directly.

References
----------
Prometheus, HTTP API v1, https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
import math
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from cd4ml.errors import ServiceError, UsageError

__all__ = ["TOKEN_VARIABLE", "Prometheus", "Selector", "Series", "scrape"]

TOKEN_VARIABLE = "CD4ML_PROMETHEUS_TOKEN"  # noqa: S105 - a name
_MOST_BYTES = 64 << 20
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+(\S+))?\s*$")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True)
class Selector:
    """Series by name and labels.

    Attributes
    ----------
    labels : mapping
        Label -> exact value.
    patterns : mapping
        Label -> regular expression that fits all of the value.
    """

    name: str
    labels: Mapping[str, str]
    patterns: Mapping[str, str] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "patterns", dict(self.patterns))

    def __str__(self) -> str:
        """Return it as PromQL has it."""
        parts = [f"{name}={_quoted(value)}" for name, value in sorted(self.labels.items())]
        parts += [f"{name}=~{_quoted(value)}" for name, value in sorted(self.patterns.items())]
        return f"{self.name}{{{','.join(parts)}}}"

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether a series is meant."""
        return (
            name == self.name
            and all(labels.get(key, "") == value for key, value in self.labels.items())
            and all(re.fullmatch(value, labels.get(key, "")) for key, value in self.patterns.items())
        )


@dataclass(frozen=True)
class Series:
    """One series: its labels and its samples, (seconds since 1970, value), the oldest first."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]


class Prometheus:
    """The HTTP API of a Prometheus.

    Parameters
    ----------
    url : str
        http://host:port or https://..., with a path before /api/v1 if it has one.
    timeout_seconds : float
        For each question.

    Notes
    -----
    The token in the environment variable CD4ML_PROMETHEUS_TOKEN goes to this address alone; redirects are
    not followed.
    """

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        self._url, self._timeout_seconds = _checked(url), timeout_seconds

    def query(self, expression: str, at_seconds: float) -> list[Series]:
        """Return an expression's series at a time: of one sample, or of a range as `name{}[5m]` asks for.

        Raises
        ------
        ServiceError
            If nobody answers, or with an error, or with a warning that the answer is not whole.
        """
        return self._series("query", {"query": expression, "time": f"{at_seconds:.3f}"})

    def query_range(
        self, expression: str, start_seconds: float, end_seconds: float, step_seconds: float
    ) -> list[Series]:
        """Return an expression's series at each step of a time, raising as `query` does."""
        window = {"start": f"{start_seconds:.3f}", "end": f"{end_seconds:.3f}", "step": f"{step_seconds:g}"}
        return self._series("query_range", {"query": expression, **window})

    def since(self, selector: Selector, since_seconds: float, at_seconds: float) -> list[Series]:
        """Return the samples as they were scraped, later than a time and no later than another."""
        milliseconds = math.ceil((at_seconds - since_seconds) * 1000)
        if milliseconds <= 0:
            return []
        found = self.query(f"{selector}[{milliseconds}ms]", at_seconds)
        kept = [Series(one.labels, [s for s in one.samples if s[0] > since_seconds]) for one in found]
        return [one for one in kept if one.samples]

    def _series(self, what: str, asked: Mapping[str, str]) -> list[Series]:
        body = _fetch(
            f"{self._url}/api/v1/{what}", self._timeout_seconds, urlencode(asked).encode(), _token()
        )
        try:
            answer = json.loads(body)
            if answer["status"] != "success":
                raise ServiceError(f"{self._url} refused '{asked['query']}': {answer.get('error')}")
            if answer.get("warnings"):
                raise ServiceError(f"{self._url} has no whole answer: {'; '.join(answer['warnings'])}")
            return _vectors(answer["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceError(f"{self._url} does not answer as Prometheus does: {error!r}") from error


def scrape(url: str, at_seconds: float, timeout_seconds: float = 5.0) -> list[tuple[str, Series]]:
    """Return all samples of a page of metrics as (name, series of one sample).

    Raises
    ------
    ServiceError
        If nobody answers, or not with the text format.
    """
    text = _fetch(_checked(url), timeout_seconds, None, "").decode("utf-8", "replace")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.match(line)
        if match is None:
            raise ServiceError(f"{url} line {number} is no sample of the text format: {line[:80]!r}")
        labels = {key: _plain(value) for key, value in _LABEL.findall(match[2] or "")}
        found.append((match[1], Series(labels, ((at_seconds, _number(match[3])),))))
    return found


def _vectors(data: Mapping[str, Any]) -> list[Series]:
    kind = data["resultType"]
    if kind not in ("vector", "matrix"):
        raise ValueError(f"expected series; found {kind}")
    found = []
    for one in data["result"]:
        points = one["values"] if kind == "matrix" else [one["value"]]
        found.append(Series(one["metric"], [(float(time), _number(value)) for time, value in points]))
    return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _fetch(url: str, timeout_seconds: float, body: bytes | None, token: str) -> bytes:
    request = urllib.request.Request(url, body)  # noqa: S310 - the scheme is checked
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            found: bytes = response.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(300).decode("utf-8", "replace").strip()
        raise ServiceError(f"{url} answered {error.code}: {said}") from error
    except OSError as error:
        raise ServiceError(f"{url} does not answer: {error}") from error
    if len(found) > _MOST_BYTES:
        raise ServiceError(f"{url} answered more than {_MOST_BYTES} bytes")
    return found


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"expected an address http://host:port; found '{url}'")
    return url.rstrip("/")


def _token() -> str:
    return os.environ.get(TOKEN_VARIABLE, "").strip()


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: str) -> str:
    return re.sub(r'\\[n"\\]', lambda found: _ESCAPES[found[0]], value)


def _number(text: str) -> float:
    """Return a value as Prometheus writes it: NaN, +Inf and -Inf too."""
    return float(text)
