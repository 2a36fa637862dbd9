"""JSON documents in a store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.base import Storage
from cd4ml.errors import IntegrityError, MetricError, UsageError

__all__ = ["decode", "encode", "read_document", "read_documents"]

_PARALLEL_READS = 8


def encode(value: object) -> bytes:
    """Return `value` as JSON bytes with sorted keys; raise MetricError when it holds NaN or an infinity."""
    try:
        return atomic.dumps(value).encode()
    except ValueError as error:
        raise MetricError(
            "a record must hold finite numbers only, but one is NaN or infinite; write null for what was not"
            " measured"
        ) from error
    except TypeError as error:
        raise UsageError(f"a record must be JSON (str, number, bool, null, list, dict): {error}") from error


def decode(data: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object in `data`; raise IntegrityError that names `name` when there is none."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"'{name}' must be JSON and is not ({error}); restore or delete it") from error
    if not isinstance(value, dict):
        raise IntegrityError(
            f"'{name}' must be a JSON object; found a {type(value).__name__}. Restore or delete it"
        )
    return value


def read_document(storage: Storage, key: str) -> dict[str, Any]:
    """Return the JSON object at `key`."""
    return decode(storage.get(key), storage.url(key))


def read_documents(storage: Storage, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Return the JSON objects at `keys` in their order; several are fetched at a time."""
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return list(pool.map(lambda key: read_document(storage, key), keys))
