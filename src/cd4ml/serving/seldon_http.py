"""What Seldon Core's HTTP server answers with 500, or takes in whatever its size, answered rightly.

Seldon Core 1.17 registers a user model's `model_error_handler`, a Flask blueprint, before its own handlers.
"""

from __future__ import annotations

import io
import json
from typing import Any

from cd4ml.serving.requests import BadRequest, Limits
from cd4ml.serving.seldon_messages import refusal_message

__all__ = ["error_handlers"]


def error_handlers(limits: Limits) -> Any:
    """Return the blueprint: bodies beyond the limit are 413, broken JSON 400, unknown paths 404."""
    from flask import Blueprint, jsonify, request
    from werkzeug.exceptions import HTTPException

    blueprint = Blueprint("cd4ml", __name__)
    most = limits.body_bytes

    def refuse(error: BadRequest) -> Any:
        return jsonify(refusal_message(error)), error.status

    @blueprint.before_app_request
    def look_at_size() -> Any:
        size = request.content_length
        if size is None and request.environ.get("wsgi.input_terminated"):  # in chunks: nobody said how much
            body = request.environ["wsgi.input"].read(most + 1)
            request.environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            size = len(body)
        if size is not None and size > most:
            return refuse(BadRequest(413, "", f"{size} bytes", f"a body of at most {most} bytes"))
        return None

    @blueprint.app_errorhandler(BadRequest)
    def refused(error: BadRequest) -> Any:
        return refuse(error)

    @blueprint.app_errorhandler(HTTPException)
    def no_such_path(error: HTTPException) -> Any:
        status = error.code or 500
        return refuse(
            BadRequest(status, "", f"{request.method} {request.path[:60]}", "what this model serves")
        )

    @blueprint.app_errorhandler(UnicodeDecodeError)
    @blueprint.app_errorhandler(json.JSONDecodeError)
    @blueprint.app_errorhandler(RecursionError)
    def not_json(error: Exception) -> Any:
        return refuse(BadRequest(400, "", f"no JSON: {str(error)[:120]}", "a SeldonMessage as JSON"))

    return blueprint
