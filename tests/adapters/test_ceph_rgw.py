"""The Ceph RADOS Gateway of the tests runs beside others and never outlives its test."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.adapters.ceph_rgw import RGW_CREDENTIALS, rgw_endpoint, rgw_is_installed
from tests.adapters.s3_server import environment, new_bucket

pytestmark = [
    pytest.mark.s3,
    pytest.mark.skipif(not rgw_is_installed(), reason="needs radosgw, ceph-mon, ceph-osd and ceph-common"),
]

STARTER = """
import sys
from tests.adapters.ceph_rgw import rgw_endpoint
with rgw_endpoint(sys.argv[1]) as endpoint:
    print(endpoint, flush=True)
    sys.stdin.read()
"""


def listens(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=1).close()
    except OSError:
        return False
    return True


def daemons(folder: Path) -> list[str]:
    """Return the command lines of processes that were started with a configuration beneath `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].startswith(("ceph-", "rados")) and any(word.startswith(f"{folder}/") for word in words):
            found.append(" ".join(words))
    return found


def test_two_run_beside_each_other_and_are_gone_at_the_end() -> None:
    with environment(**RGW_CREDENTIALS), rgw_endpoint() as one:
        with rgw_endpoint() as two:
            assert one != two
            first, second = new_bucket(one), new_bucket(two)
            first.put("k", b"1")
            assert second.list("") == []
            assert listens(two)
        assert not listens(two)
        assert first.get("k") == b"1"
    assert not listens(one)


def test_it_ends_with_the_process_that_started_it_when_that_is_killed() -> None:
    # Not pytest's folder: see `rgw_endpoint`.
    with tempfile.TemporaryDirectory(prefix="cd4ml-rgw-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        starter = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert starter.stdout
        endpoint = starter.stdout.readline().strip()
        assert listens(endpoint)
        assert len(daemons(folder)) == 3
        starter.kill()
        starter.communicate()
        end = time.monotonic() + 20
        while (daemons(folder) or listens(endpoint)) and time.monotonic() < end:
            time.sleep(0.05)  # a process that ends has no command line any more, and a socket still
        assert daemons(folder) == []
        assert not listens(endpoint)
