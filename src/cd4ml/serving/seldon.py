"""A bundle as a model of Seldon Core 1.17.1, the last release under the Apache licence.

    seldon-core-microservice cd4ml.serving.seldon.BundleModel --service-type MODEL

This runs in an environment of its own (`requirements/seldon.txt`): Seldon Core pins NumPy below 2, protobuf
3.20 and prometheus-client below 0.9. Nothing of KServe is imported here, and Seldon Core itself only where it
calls.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cd4ml.errors import UsageError
from cd4ml.features.columns import ColumnSet
from cd4ml.serving.answers import Answer
from cd4ml.serving.requests import BadRequest, Limits
from cd4ml.serving.seldon_messages import (
    Labels,
    answer_message,
    metrics_of,
    read_columns,
    refusal_message,
)
from cd4ml.serving.served import Served, label

__all__ = ["BundleModel"]

_LOG = logging.getLogger("cd4ml.serving.seldon")
_MODELS = "/mnt/models"
"""Where Seldon's storage initializer puts what `modelUri` names."""


class BundleModel:
    """Serves one bundle under Seldon's wrapper for Python, over REST and gRPC.

    Parameters are those of the graph's node, or of `--parameters`; what is not given comes from the
    environment.

    Parameters
    ----------
    bundle : str
        Folder; else `CD4ML_BUNDLE`, else `model_uri`, else /mnt/models.
    name : str
        What answers and metrics call the model; else `CD4ML_MODEL_NAME`, else the node's name
        (`PREDICTIVE_UNIT_ID`), else the problem's.
    version : str
        Else `CD4ML_MODEL_VERSION`, else the first characters of the bundle's id.
    variant : str
        stable, canary, shadow; else `CD4ML_VARIANT`, else the predictor's name (`PREDICTOR_ID`), else stable.
    history : str
        Folder of a history table newer than the bundle's own; else `CD4ML_HISTORY`.
    max_body_bytes : int
        Largest body of a REST request.
    model_uri : str
        As Seldon's own servers get it.

    Raises
    ------
    IntegrityError
        If a file of the bundle was altered or its signature is not right, naming it: the process ends before
        it listens.
    UsageError
        If the folder is none, or a name cannot be a label.
    """

    def __init__(
        self,
        bundle: str = "",
        name: str = "",
        version: str = "",
        variant: str = "",
        history: str = "",
        max_body_bytes: int = Limits.body_bytes,
        model_uri: str = "",
    ) -> None:
        self._folder = Path(_given(bundle, "CD4ML_BUNDLE") or model_uri or _MODELS)
        newer = _given(history, "CD4ML_HISTORY")
        self._history = Path(newer) if newer else None
        self._version = _given(version, "CD4ML_MODEL_VERSION")
        self._limits = Limits(body_bytes=max_body_bytes)
        if not self._folder.is_dir():
            raise UsageError(
                f"expected the folder of a bundle; '{self._folder}' is none. Set the parameter 'bundle' or"
                " CD4ML_BUNDLE"
            )
        # Loaded here so that an altered bundle ends the process at once, and again by `load` in each worker.
        served = self._read()
        named = _given(name, "CD4ML_MODEL_NAME", "PREDICTIVE_UNIT_ID") or served.bundle.problem.name
        called = _given(variant, "CD4ML_VARIANT", "PREDICTOR_ID") or "stable"
        self._labels = Labels(label("name", named), served.version, label("variant", called))
        self._metadata = _metadata(served, self._labels)
        self._served: Served | None = None
        if served.bundle.signature is not None and served.bundle.signature.warning:
            _LOG.warning("%s", served.bundle.signature.warning)

    def _read(self) -> Served:
        return Served.load(self._folder, self._version, self._history)

    def load(self) -> None:
        """Verify and load the bundle; Seldon calls it in each worker."""
        self._served = self._read()

    @property
    def served(self) -> Served:
        """What answers."""
        if self._served is None:
            self.load()
        assert self._served is not None
        return self._served

    @property
    def model_error_handler(self) -> Any:
        """Flask's blueprint for what goes wrong before `predict_raw`; Seldon registers it."""
        from cd4ml.serving.seldon_http import error_handlers

        return error_handlers(self._limits)

    def predict_raw(self, msg: Any) -> Any:
        """Answer a SeldonMessage, as JSON or as the message of gRPC, in the form it came in.

        A refused request gets a message with `status`, whose code is the HTTP status; over gRPC the call
        itself succeeds. See `cd4ml.serving.seldon_messages.read_columns` for what it may hold.
        """
        if isinstance(msg, Mapping) or not hasattr(msg, "SerializeToString"):
            return self._respond(msg)
        from seldon_core.utils import json_to_seldon_message, seldon_message_to_json

        answered = self._respond(seldon_message_to_json(msg))
        return json_to_seldon_message(json.loads(json.dumps(answered)))

    def _respond(self, message: Any) -> dict[str, Any]:
        start, status, field = time.perf_counter(), 200, ""
        try:
            columns, form = read_columns(message, self.served.bundle.contract)
            answer = self._answer(columns)
            found = {**answer_message(answer, form), "meta": {"tags": self._tags(answer)}}
        except BadRequest as error:
            status, field = error.status, error.field
            found = refusal_message(error)
            found["meta"]["tags"] |= self.tags()
            _LOG.warning("refused with %s: field %r, row %s", status, field, error.row)
        except Exception:
            # The caller learns nothing of the inside; the log has it.
            _LOG.exception("a prediction failed")
            status = 500
            found = refusal_message(BadRequest(500, "", "a failure", "", message="the prediction failed"))
        seconds = time.perf_counter() - start
        parts = (self._labels, self.served.bundle.id, status, field, seconds)
        found["meta"]["metrics"] = metrics_of(*parts)
        return _with_origin(found, message)

    def _answer(self, columns: ColumnSet) -> Answer:
        served = self.served
        outputs = served.bundle.outputs(columns)
        return Answer(self._labels.model, served.version, outputs, served.unknown(columns))

    def predict(self, X: Any, names: Sequence[str], meta: Mapping[str, Any] | None = None) -> Any:
        """Return the outputs for rows of values, shape (n, outputs), with tags and metrics.

        Seldon's servers call `predict_raw` instead: here numbers and texts of one array have one type.

        Parameters
        ----------
        X : array of shape (n, k) or list of mappings
            Values in the order of `names`; or rows.

        Raises
        ------
        SeldonMicroserviceException
            With status 400, naming row, field, what was found and what is allowed.
        """
        from seldon_core.flask_utils import SeldonMicroserviceException
        from seldon_core.user_model import SeldonResponse

        listed = X.tolist() if hasattr(X, "tolist") else list(X)
        rows = all(isinstance(row, Mapping) for row in listed)
        message = {"jsonData": listed} if rows else {"data": {"names": list(names), "ndarray": listed}}
        start = time.perf_counter()
        try:
            columns, _ = read_columns(message, self.served.bundle.contract)
        except BadRequest as error:
            reason = refusal_message(error)["status"]["reason"]
            raise SeldonMicroserviceException(str(error), error.status, reason=reason) from None
        answer = self._answer(columns)
        metrics = metrics_of(self._labels, self.served.bundle.id, 200, "", time.perf_counter() - start)
        data = answer_message(answer, "ndarray")["data"]["ndarray"]
        return SeldonResponse(data, self._tags(answer), metrics)

    def class_names(self) -> list[str]:
        """Return the names of the outputs."""
        return [output["name"] for output in self.served.output_types]

    def tags(self) -> dict[str, Any]:
        """Return model, version, variant and the bundle's id; answers have unknown categories beside them."""
        return {**self._labels.to_dict(), "bundle": self.served.bundle.id}

    def _tags(self, answer: Answer) -> dict[str, Any]:
        unknown = [item.to_dict() for item in answer.unknown]
        return {**self.tags(), "unknown": unknown} if unknown else self.tags()

    def metrics(self) -> list[dict[str, Any]]:
        """Return which bundle is served; what a request counts stands in its own answer."""
        tags = {**self._labels.to_dict(), "bundle": self.served.bundle.id}
        return [{"type": "GAUGE", "key": "cd4ml_served_info", "value": 1, "tags": tags}]

    def health_status(self) -> dict[str, Any]:
        """Return that the model answers, after it predicted a row of its holdout.

        Raises
        ------
        SeldonMicroserviceException
            With status 503, if that prediction is not finite.
        """
        served = self.served
        if served.example is not None:
            outputs = served.bundle.predict_rows([served.example])
            if not all(math.isfinite(value) for values in outputs.values() for value in values.tolist()):
                from seldon_core.flask_utils import SeldonMicroserviceException

                text = "the prediction for the first holdout row is not finite"
                raise SeldonMicroserviceException(text, 503, reason="NOT_READY")
        return {"status": "ready", **self.tags()}

    def init_metadata(self) -> dict[str, Any]:
        """Return Seldon's metadata: the contract of a row, the outputs, version, variant and bundle."""
        return self._metadata


def _given(value: Any, *variables: str) -> str:
    """Return a parameter, or the first of the environment's variables that is set, as a text."""
    found = [str(value), *(os.environ.get(name, "") for name in variables)]
    return next((text for text in found if text), "")


def _metadata(served: Served, labels: Labels) -> dict[str, Any]:
    contract = served.bundle.contract
    rows = {"type": "array", "items": contract["inputs"], "maxItems": contract["max_rows"], "minItems": 1}
    custom = {"variant": labels.variant, "bundle": served.bundle.id, "history": served.bundle.history}
    return {
        "name": labels.model,
        "versions": [served.version],
        "platform": "cd4ml",
        "inputs": [{"messagetype": "jsonData", "schema": rows}],
        "outputs": served.output_types,
        "custom": custom,
    }


def _with_origin(answer: dict[str, Any], message: Any) -> dict[str, Any]:
    """Return the answer with the request's `puid`, by which Seldon knows it, and which node answered."""
    meta = message.get("meta") if isinstance(message, Mapping) else None
    if isinstance(meta, Mapping) and isinstance(meta.get("puid"), str):
        answer["meta"]["puid"] = meta["puid"]
    node, image = (os.environ.get(f"PREDICTIVE_UNIT_{name}", "") for name in ("ID", "IMAGE"))
    if node:
        answer["meta"]["requestPath"] = {node: image}
    return answer
