"""The order of the tests, and their names."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what may take longest first, so that no worker is left alone with it at the end."""
    items.sort(key=_limit_seconds, reverse=True)


def _limit_seconds(item: pytest.Item) -> float:
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0]) if limit else 0.0


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name long values by their beginning: the name of a test stands in the environment of what it starts."""
    if isinstance(val, str | bytes) and len(val) > 200:
        return f"{val[:60]!r}... of {len(val)}"
    return None
