"""The endpoint as its consumer sees it: V2 metadata, V1 `:predict`, and `:explain` where there is one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from cd4ml.errors import ServiceError

__all__ = ["Endpoint", "Forecast", "Known", "Refused"]

_OTHER_OUTPUTS = {"quantiles": "quantile", "decisions": "decision"}


class Refused(Exception):
    """The endpoint refused the row: which field, what was found, what is allowed."""

    def __init__(self, field: str, found: str, allowed: str, message: str) -> None:
        super().__init__(message)
        self.field, self.found, self.allowed = field, found, allowed


@dataclass(frozen=True)
class Known:
    """What the endpoint says of its model.

    Attributes
    ----------
    contract : mapping
        contract.json of the bundle.
    choices : mapping
        Field -> how many values are known; empty where the endpoint does not tell.
    time : mapping or None
        `field`, `history_end`, `next` of the calendar.
    """

    contract: Mapping[str, Any]
    choices: Mapping[str, int]
    time: Mapping[str, Any] | None

    @property
    def target(self) -> str:
        """What is predicted."""
        return str(self.contract["output"].get("description") or self.contract["problem"])


@dataclass(frozen=True)
class Forecast:
    """One row, what was predicted for it, and why.

    Attributes
    ----------
    id : str
        Of the request, as the endpoint has it.
    outputs : mapping
        `prediction`, and `quantile`, `decision` where there are.
    unknown : list of mappings
        Values that the model does not know, and what it took them for.
    why : mapping
        One of `explanations` of `:explain`; empty without.
    scale : str or None
        On which contributions add up.
    silent : str
        Why there is no explanation; "" for none.
    """

    id: str
    model: str
    version: str
    variant: str
    row: Mapping[str, Any]
    known: Known
    outputs: Mapping[str, float]
    unknown: tuple[Mapping[str, Any], ...] = ()
    why: Mapping[str, Any] | None = None
    scale: str | None = None
    silent: str = ""

    @property
    def prediction(self) -> float:
        """The forecast."""
        return float(self.outputs["prediction"])

    @property
    def interval(self) -> Mapping[str, float] | None:
        """`level`, `low` and `high`; None without."""
        return (self.why or {}).get("interval")


class Endpoint:
    """A client of one model.

    Parameters
    ----------
    url : str
        Of the server or of the gateway before it.
    timeout_seconds : float
        For each request.
    """

    def __init__(self, url: str, model: str, timeout_seconds: float = 10.0) -> None:
        self.url, self.model = url.rstrip("/"), model
        self._name = quote(model, "")
        # No proxy of the environment: an address within is asked as it is.
        self._client = httpx.AsyncClient(timeout=timeout_seconds, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def known(self) -> Known:
        """Return what the endpoint says of its model now.

        Raises
        ------
        ServiceError
            If it does not answer, or has no contract.
        """
        found = await self._json("GET", f"/v2/models/{self._name}")
        if not isinstance(found.get("contract"), dict):
            raise ServiceError(f"expected the metadata of {self.url} to have a contract; it has none")
        choices: dict[str, int] = {}
        time = None
        more = await self._send("GET", f"/v1/models/{self._name}/choices")
        if more.status_code == httpx.codes.OK:
            document = _document(more)
            choices = {name: int(field["count"]) for name, field in document.get("fields", {}).items()}
            time = document.get("time")
        return Known(found["contract"], choices, time)

    async def choices(self, field: str, contains: str, most: int) -> list[dict[str, Any]]:
        """Return known values of a field that contain a text; none where the endpoint does not tell."""
        path = f"/v1/models/{self._name}/choices/{quote(field, '')}"
        answer = await self._send("GET", path, params={"contains": contains, "limit": str(most)})
        if answer.status_code != httpx.codes.OK:
            return []
        return list(_document(answer).get("choices", []))

    async def ask(self, row: Mapping[str, Any], known: Known) -> Forecast:
        """Ask for one prediction, and then why.

        Both requests have one id. The prediction is asked as every consumer asks, so that it becomes an event
        and goes where the gateway sends it; an explanation by another version is not shown.

        Raises
        ------
        Refused
            If the row breaks the contract.
        ServiceError
            If there is no answer.
        """
        headers = {"Ce-Id": str(uuid.uuid4())}
        path, body = f"/v1/models/{self._name}", {"instances": [dict(row)]}
        answer = await self._send("POST", f"{path}:predict", json=body, headers=headers)
        document = _document(answer)
        if answer.is_client_error:
            raise _refused(document, answer.status_code)
        if answer.status_code != httpx.codes.OK:
            raise self._unexpected(answer)
        version, variant = _who(document, answer)
        try:
            outputs = {"prediction": float(document["predictions"][0])}
            outputs |= {
                name: float(document[key][0]) for key, name in _OTHER_OUTPUTS.items() if key in document
            }
        except (KeyError, IndexError, TypeError, ValueError):
            raise ServiceError(f"expected predictions from {self.url}; found none in its answer") from None
        identity = answer.headers.get("ce-id") or headers["Ce-Id"]
        asked = await self._why(path, body, {"Ce-Id": identity}, (version, variant))
        unknown = tuple(document.get("unknown") or ())
        return Forecast(identity, self.model, version, variant, row, known, outputs, unknown, *asked)

    async def _why(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], who: tuple[str, str]
    ) -> tuple[Mapping[str, Any] | None, str | None, str]:
        try:
            answer = await self._send("POST", f"{path}:explain", json=body, headers=headers)
        except ServiceError:
            return None, None, "the explanation did not come in time"
        if answer.status_code != httpx.codes.OK:
            return None, None, "this endpoint does not explain its predictions"
        document = _document(answer)
        pairs = zip(_who(document, answer), who, strict=True)
        if any(here and there and here != there for here, there in pairs):
            return None, None, "another version of the model would explain it"
        rows = document.get("explanations")
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
            return None, None, "this endpoint does not explain its predictions"
        return rows[0], document.get("scale"), ""

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        answer = await self._send(method, path)
        if answer.status_code != httpx.codes.OK:
            raise self._unexpected(answer)
        return _document(answer)

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return await self._client.request(method, self.url + path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise ServiceError(f"the model at {self.url} does not answer: {what}") from error

    def _unexpected(self, answer: httpx.Response) -> ServiceError:
        said = " ".join(str(_document(answer).get("error", "")).split())[:200]
        return ServiceError(
            f"the model at {self.url} answered {answer.status_code}{f': {said}' if said else ''}"
        )


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _who(document: Mapping[str, Any], answer: httpx.Response) -> tuple[str, str]:
    """Return version and variant as the body or the headers have them."""
    names = (("model_version", "x-cd4ml-version"), ("model_variant", "x-cd4ml-variant"))
    version, variant = (str(document.get(key) or answer.headers.get(header) or "") for key, header in names)
    return version, variant


def _refused(document: Mapping[str, Any], status: int) -> Exception:
    parts = [str(document.get(name) or "") for name in ("field", "found", "allowed")]
    message = str(document.get("error") or f"the endpoint refused the row ({status})")
    return Refused(parts[0], parts[1], parts[2], message)
