"""A bundle as a model of KServe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kserve.errors import InvalidInput
from kserve.model import Model

from cd4ml.errors import UsageError
from cd4ml.serving.answers import Answer, encode_v1, encode_v2
from cd4ml.serving.requests import Limits, Rows, decode_v1, decode_v2
from cd4ml.serving.served import Served, label

__all__ = ["BundlePredictor", "Served"]


class BundlePredictor(Model):  # type: ignore[misc]
    """Serves one bundle under one name.

    Parameters
    ----------
    name : str
        As in `/v1/models/NAME:predict`.
    folder : Path
        The bundle; it is verified here, so that a process with an altered one never becomes ready.
    version : str
        What answers call it; by default the first characters of the bundle's id.
    history : Path or None
        A history table newer than the bundle's own.
    variant : str
        stable, canary, shadow: what answers, metrics and events call this server.
    limits : Limits
        What one request may cost.

    Raises
    ------
    IntegrityError
        If a file of the bundle was altered, naming it.
    UsageError
        If the version or the variant cannot be a header's value.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        version: str = "",
        history: Path | None = None,
        variant: str = "stable",
        limits: Limits | None = None,
    ) -> None:
        super().__init__(name)
        self.limits = limits or Limits()
        self.variant = label("variant", variant)
        self._served: Served | None = None
        self._source: tuple[Path, str, Path | None] | None = None
        self.swap(folder, version, history)

    def swap(self, folder: Path, version: str = "", history: Path | None = None) -> bool:
        """Take another bundle into service once it is verified and loaded; requests under way keep theirs.

        Returns
        -------
        bool
            False where just that is in service already; nothing is read then.
        """
        source = (folder, version, history)
        if self._served is not None and source == self._source:
            return False
        # In this order: whoever takes a version in between gets one that is whole.
        self._served = Served.load(*source)
        self._source = source
        self.ready = True
        return True

    def release(self) -> None:
        """Let go of what was loaded, in a process that only starts workers; asking for it loads it again."""
        self._served = None

    def __getstate__(self) -> dict[str, Any]:
        # Sessions of ONNX Runtime cannot be pickled: each worker loads, and verifies, its own.
        return {**self.__dict__, "_served": None}

    @property
    def served(self) -> Served:
        """The version that answers now; take it once for a request."""
        served = self._served
        if served is None:
            if self._source is None:
                raise UsageError(f"'{self.name}' has no bundle")
            served = self._served = Served.load(*self._source)
        return served

    def answer(self, rows: Rows, served: Served | None = None) -> Answer:
        """Return the answer for checked rows, by default of the version that answers now."""
        served = served or self.served
        outputs = served.bundle.outputs(rows.columns)
        return Answer(self.name, served.version, outputs, served.unknown(rows.columns))

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer what KServe's own data plane decoded; the routes of `cd4ml.serving.routes` do not need it.

        Raises
        ------
        kserve.errors.InvalidInput
            Naming field, found and allowed.
        """
        import orjson
        from kserve import InferRequest, InferResponse

        served = self.served
        try:
            if isinstance(payload, InferRequest):
                body, size = payload.to_rest()
                body = body if isinstance(body, bytes) else orjson.dumps(body)
                rows = decode_v2(body, served.bundle.contract, self.limits, size)
                rows = replace(rows, outputs=None, binary=False)
                answered, _ = encode_v2(self.answer(rows, served), rows, payload.id or "")
                return InferResponse.from_rest(orjson.loads(answered))
            rows = decode_v1(orjson.dumps(payload), served.bundle.contract, self.limits)
            return orjson.loads(encode_v1(self.answer(rows, served)))
        except (ValueError, TypeError) as error:
            raise InvalidInput(str(error)) from None

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the V2 tensors of a request, one for each field."""
        return self.served.input_types

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the V2 tensors of an answer."""
        return self.served.output_types

    def metadata(self, served: Served | None = None) -> dict[str, Any]:
        """Return the V2 metadata with the variant, the contract, the bundle's id and the limits."""
        served = served or self.served
        contract = served.bundle.contract
        limits = {"body_bytes": self.limits.body_bytes, "rows": self.limits.most_rows(contract)}
        return {
            "name": self.name,
            "versions": [served.version],
            "variant": self.variant,
            "platform": "cd4ml",
            "inputs": served.input_types,
            "outputs": served.output_types,
            "bundle": served.bundle.id,
            "history": served.bundle.history,
            "limits": limits,
            "contract": contract,
        }
