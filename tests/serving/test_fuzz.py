"""Whatever is sent is answered or refused in words: no 5xx, no traceback, and no memory that grows."""

from collections import Counter
from pathlib import Path

import pytest

from cd4ml.models.runtime import holdout_rows
from tests.models.bundles import bundle
from tests.serving.fuzzed import Fuzz
from tests.serving.model_server import Running, running
from tests.serving.protocol import datatypes
from tests.serving.wire import ask_all, resident_bytes

CONNECTIONS = 4


def parts(name: str, count: int, seed: int, *, heavy: bool = False) -> list:
    rows, types = holdout_rows(bundle(name))[:20], datatypes(bundle(name))
    share = count // CONNECTIONS
    return [Fuzz(name, rows, types, seed + n, heavy).requests(share) for n in range(CONNECTIONS)]


@pytest.mark.parametrize("name", ["shop", "people"])
def test_spoilt_requests_are_refused_by_name(name: str, shop_server: Running, people_server: Running) -> None:
    server = {"shop": shop_server, "people": people_server}[name]
    statuses, faults = ask_all(server.port, parts(name, 1500, 40))
    assert faults == []
    assert {200, 400, 404, 405, 413, 415} <= statuses.keys()
    assert statuses[400] > 500
    assert server.get("/v2/health/live").json() == {"live": True}


@pytest.mark.serving
@pytest.mark.timeout(900)
def test_a_hundred_thousand_spoilt_requests_leave_no_memory_behind(tmp_path: Path) -> None:
    with running(bundle("shop"), "shop", "--events", str(tmp_path / "events")) as server:
        found = Counter[int]()
        sizes = []
        for part in range(10):
            statuses, faults = ask_all(server.port, parts("shop", 10_000, 100 * part, heavy=True))
            assert faults == []
            sizes.append(resident_bytes(server.process.pid))
            found += statuses
        assert found.total() == 100_000
        assert {200, 400, 404, 405, 413, 415, 431} <= found.keys()
        assert sizes[-1] <= 1.1 * sizes[0], sizes
        assert server.v1(holdout_rows(bundle("shop"))[:1]).status_code == 200
