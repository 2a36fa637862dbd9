"""How a caller proves to a Kubeflow Pipelines server who it is: nothing of it is ever an argument."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cd4ml.errors import UsageError

__all__ = ["CA_VARIABLE", "COOKIE_VARIABLE", "TOKEN_VARIABLE", "VOLUME_TOKEN", "access"]

TOKEN_VARIABLE = "CD4ML_KFP_TOKEN"  # noqa: S105 - the variable's name, not a token
"""Environment variable that holds the bearer token of the API server; with `_FILE` behind it, its file."""

COOKIE_VARIABLE = "CD4ML_KFP_COOKIE"
"""The same for a session cookie of Dex or oauth2-proxy, such as `authservice_session=...`."""

CA_VARIABLE = "CD4ML_KFP_CA_FILE"
"""File of the certificates that are trusted, where the server's own authority signs."""

VOLUME_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod has its projected service account token, unless KF_PIPELINES_SA_TOKEN_PATH says otherwise."""


def access() -> dict[str, Any]:
    """Return what kfp's client takes to say who calls, by what the environment holds.

    The first of these is taken: a token, a file of a token, a cookie, a file of a cookie, the token that
    Kubernetes projects into a pod. Files of tokens are read again for every request, for they are renewed.

    Raises
    ------
    UsageError
        When a file that was named cannot be read, or holds nothing.
    """
    found = _identity()
    authority = os.environ.get(CA_VARIABLE)
    if authority:
        _content(CA_VARIABLE, Path(authority))
        found["ssl_ca_cert"] = authority
    return found


def _identity() -> dict[str, Any]:
    token, token_file = os.environ.get(TOKEN_VARIABLE), os.environ.get(f"{TOKEN_VARIABLE}_FILE")
    cookie, cookie_file = os.environ.get(COOKIE_VARIABLE), os.environ.get(f"{COOKIE_VARIABLE}_FILE")
    if token:
        return {"existing_token": _line(TOKEN_VARIABLE, token)}
    if token_file:
        return _from_volume(f"{TOKEN_VARIABLE}_FILE", Path(token_file))
    if cookie:
        return {"cookies": _line(COOKIE_VARIABLE, cookie)}
    if cookie_file:
        name = f"{COOKIE_VARIABLE}_FILE"
        return {"cookies": _line(name, _content(name, Path(cookie_file)))}
    volume = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH")
    if volume:
        return _from_volume("KF_PIPELINES_SA_TOKEN_PATH", Path(volume))
    return _from_volume("", VOLUME_TOKEN) if VOLUME_TOKEN.is_file() else {}


def _from_volume(name: str, path: Path) -> dict[str, Any]:
    from kfp.client import ServiceAccountTokenVolumeCredentials

    _content(name, path)
    return {"credentials": ServiceAccountTokenVolumeCredentials(str(path))}


def _content(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UsageError(
            f"expected the file {path}, named by {name or 'its place'}, found: {reason}"
        ) from None
    if not text:
        raise UsageError(
            f"expected something in the file {path}, named by {name or 'its place'}, found nothing"
        )
    return text


def _line(name: str, text: str) -> str:
    """Return what goes into a header: one line, or somebody else's header would follow."""
    text = text.strip()
    if not text.isprintable():
        raise UsageError(f"{name} must be one line of text; found line breaks or control characters in it")
    return text
