"""Ask a live model over KServe's V1 or V2 protocol, as any caller does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import Any, Literal, get_args
from urllib.parse import quote, urlsplit

from cd4ml.errors import ServiceError, UsageError

__all__ = ["HOST", "TOKEN", "Answer", "InferenceClient", "Protocol"]

Protocol = Literal["v1", "v2"]

HOST, TOKEN = "CD4ML_ENDPOINT_HOST", "CD4ML_ENDPOINT_TOKEN"
"""Variables of the environment: the header Host, where a gateway routes by it, and a bearer token."""
_REFUSALS = (400, 413, 422)
"""Statuses that speak about the request, and not about the server."""
_OK = 200
_SHOWN = 200
_MODEL = {"v1": r"/v1/models/[^/:]+", "v2": r"/v2/models/[^/]+(/versions/[^/]+)?"}
_METADATA = re.compile(r"/v1/models/([^/]+)$")
_VERB = {"v1": ":predict", "v2": "/infer"}
_V1_OUTPUTS = {"predictions": "prediction", "quantiles": "quantile", "decisions": "decision"}
_DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL"}


@dataclass(frozen=True)
class Answer:
    """What came back for some rows.

    Attributes
    ----------
    outputs : mapping
        Name -> one value a row, as they came.
    refusal : str
        Why the rows were refused; "" when they were not.
    """

    outputs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    refusal: str = ""


class InferenceClient:
    """One kept connection to one model.

    `CD4ML_ENDPOINT_HOST` and `CD4ML_ENDPOINT_TOKEN` go along as the headers Host and Authorization.

    Parameters
    ----------
    url : str
        The server's address, or the whole address of the model, which may end with `:predict` or `/infer`.
    model : str
        The model's name, where the address is the server's.
    kinds : mapping
        Field -> kind of the contract (integer, number, boolean, text, ...), for the tensors of V2.
    timeout_seconds : float
        For each request.
    headers : mapping, optional
        More headers, such as the one by which a gateway on this machine is told which variant to ask.

    Raises
    ------
    UsageError
        If the address is not one of HTTP or of the other protocol, or a variable cannot be a header.
    """

    def __init__(
        self,
        url: str,
        model: str,
        protocol: Protocol,
        kinds: Mapping[str, str],
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if protocol not in get_args(Protocol):
            raise UsageError(f"expected protocol v1 or v2; found '{protocol}'")
        if not timeout_seconds > 0:
            raise UsageError(f"expected a timeout of more than 0 seconds; found {timeout_seconds:g}")
        self._protocol, self._kinds = protocol, kinds
        self._connection, base = _connection(url, timeout_seconds)
        self._path = _model_path(base, model, protocol)
        scheme = "https" if isinstance(self._connection, HTTPSConnection) else "http"
        self.address = f"{scheme}://{urlsplit(url).netloc}{self._path}"
        own = {**_own_headers(), **(headers or {})}
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **own}
        self.requests = 0

    def __enter__(self) -> InferenceClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Answer:
        """Ask for predictions of rows.

        Raises
        ------
        ServiceError
            If no answer comes, it tells of the server and not of the rows, or it is not one of the protocol.
        """
        body = {"instances": list(rows)} if self._protocol == "v1" else {"inputs": self._tensors(rows)}
        status, content = self._post(json.dumps(body, allow_nan=False).encode())
        if status in _REFUSALS:
            return Answer(refusal=f"{status}: {_line(content)}")
        if status != _OK:
            hint = (
                ". Give the model's own address, such as " + _example(self._protocol) if status == 404 else ""
            )
            raise ServiceError(
                f"expected an answer from {self.address}; found {status}: {_line(content)}{hint}"
            )
        try:
            document = json.loads(content)
            return Answer(_v1_outputs(document) if self._protocol == "v1" else _v2_outputs(document))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ServiceError(
                f"expected an answer of {self._protocol} from {self.address}; found: {_line(content)}."
                " Is this the address of a model?"
            ) from None

    def metadata(self) -> Mapping[str, Any]:
        """Return what the endpoint tells of the model in protocol V2; empty where it tells nothing.

        Raises
        ------
        ServiceError
            If no answer comes.
        """
        path = _METADATA.sub(r"/v2/models/\1", self._path.removesuffix(_VERB[self._protocol]))
        try:
            self._connection.request("GET", path, headers=self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except HTTPException:  # whatever that was, it is no answer of V2
            self._connection.close()
            return {}
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            document = json.loads(content) if response.status == _OK else {}
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def _tensors(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return one tensor a field; fields that no row has a value for are left out, unless none has."""
        tensors: list[dict[str, Any]] = []
        empty: list[dict[str, Any]] = []
        for name, kind in self._kinds.items():
            data = [row.get(name) for row in rows]
            datatype = _DATATYPES.get(kind, "BYTES")
            tensor = {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}
            (empty if all(value is None for value in data) else tensors).append(tensor)
        return tensors or empty  # the number of rows is told by a tensor alone

    def _post(self, body: bytes) -> tuple[int, bytes]:
        self.requests += 1
        kept = self._connection.sock is not None
        try:
            return self._exchange(body)
        except (ConnectionError, HTTPException) as error:  # a server may close a kept connection at any time
            if not kept:
                raise self._unreachable(error) from error
        except OSError as error:
            raise self._unreachable(error) from error
        self._connection.close()
        try:
            return self._exchange(body)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", self._path, body, self._headers)
        response: HTTPResponse = self._connection.getresponse()
        return response.status, response.read()

    def _unreachable(self, error: Exception) -> ServiceError:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ServiceError(
            f"expected an answer from {self.address}; found: {what}. Check the address and that the server is"
            " ready"
        )


def _own_headers() -> dict[str, str]:
    """Return the headers that the environment asks for; a token is never an argument, which all can see."""
    found = {}
    for variable, name, before in ((HOST, "Host", ""), (TOKEN, "Authorization", "Bearer ")):
        value = os.environ.get(variable, "").strip()
        if not re.fullmatch(r"[!-~]*", value):
            raise UsageError(f"expected {variable} to be in ASCII, without blanks; found other letters in it")
        if value:
            found[name] = before + value
    return found


def _connection(url: str, timeout_seconds: float) -> tuple[HTTPConnection, str]:
    """Return a connection, not opened yet, and the path of the address without a "/" at its end."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"expected an address such as http://localhost:8080; found '{url}'") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError("an address holds no user or password; found one before its '@'")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UsageError(f"expected an address such as http://localhost:8080; found '{url}'")
    if not re.fullmatch(r"[!-~]*", parts.path):
        raise UsageError(f"expected an address without blanks, and in ASCII; found '{url}'")
    make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return make(host, port, timeout=timeout_seconds), parts.path.rstrip("/")


def _model_path(base: str, model: str, protocol: Protocol) -> str:
    other: Protocol = "v2" if protocol == "v1" else "v1"
    if re.search(rf"{_MODEL[other]}({_VERB[other]})?$", base):
        raise UsageError(f"the address is one of protocol {other}; found protocol {protocol} asked for")
    if re.search(rf"{_MODEL[protocol]}{_VERB[protocol]}$", base):
        return base
    named = (
        base if re.search(rf"{_MODEL[protocol]}$", base) else f"{base}/{protocol}/models/{quote(model, '')}"
    )
    return named + _VERB[protocol]


def _example(protocol: Protocol) -> str:
    return f"http://localhost:8080/{protocol}/models/NAME"


def _line(content: bytes) -> str:
    text = " ".join(content[: 4 * _SHOWN].decode("utf-8", "replace").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _v1_outputs(document: Any) -> dict[str, list[Any]]:
    """Return the outputs of V1: `predictions`, and others that the model has beside it."""
    found = {output: document[name] for name, output in _V1_OUTPUTS.items() if name in document}
    if "prediction" not in found:
        raise KeyError("predictions")
    return _lists(found)


def _v2_outputs(document: Any) -> dict[str, list[Any]]:
    """Return the outputs of V2 by their tensors' names."""
    return _lists({str(tensor["name"]): tensor["data"] for tensor in document["outputs"]})


def _lists(found: dict[str, Any]) -> dict[str, list[Any]]:
    if not all(isinstance(values, list) for values in found.values()):
        raise TypeError
    return found
