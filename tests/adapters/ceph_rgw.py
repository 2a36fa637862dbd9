"""A Ceph RADOS Gateway on loopback: one monitor, one store in memory, one S3 server; gone with its test.

Debian has it: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd. Several may run beside each
other, for each has ports and a folder of its own.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["RGW_CREDENTIALS", "rgw_endpoint", "rgw_is_installed"]

RGW_CREDENTIALS: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": "rgw-test-key",
    "AWS_SECRET_ACCESS_KEY": "rgw-test-secret",
    "AWS_SESSION_TOKEN": None,
    "AWS_REGION": None,
    "AWS_DEFAULT_REGION": None,
}
_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "setpriv")
_START_SECONDS = 90.0
# Pools of one placement group, no authentication between the daemons, and a monitor that does not wait for
# more to decide on: it starts in seconds. `crc`: a gateway wants encryption, which needs authentication.
_CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}]
public network = 127.0.0.0/8
ms bind ipv6 = false
ms mon client mode = crc
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 4096
mon data avail warn = 1
mon data avail crit = 1
paxos propose interval = 0.02
paxos min wait = 0.01
osd objectstore = memstore
memstore device bytes = 4294967296
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}/run
admin socket =
pid file =
log file = {folder}/log/$name.log
[client]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{rgw} tcp_nodelay=1
rgw thread pool size = 64
rgw enable usage log = false
rgw gc obj min wait = 5
rgw gc processor period = 5
"""


def rgw_is_installed() -> bool:
    """Tell whether all programs are on the path."""
    return all(shutil.which(name) for name in _PROGRAMS)


@contextmanager
def rgw_endpoint(parent: str | None = None) -> Iterator[str]:
    """Serve S3 on loopback to the user of `RGW_CREDENTIALS`; stopped at the end, also when we are killed.

    Its files lie beneath `parent`, or the system's temporary folder; not in pytest's, for a socket's path may
    have 107 characters at most.
    """
    folder = Path(tempfile.mkdtemp(prefix="cd4ml-rgw-", dir=parent))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        monitor_port, port = _free_ports(2)
        conf = _prepare(folder, monitor_port, port)
        _start_cluster(stack, conf)
        key, secret = RGW_CREDENTIALS["AWS_ACCESS_KEY_ID"], RGW_CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        user = ("--uid=test", "--display-name=test", f"--access-key={key}", f"--secret-key={secret}")
        _run(conf, "radosgw-admin", "user", "create", *user)
        gateway = _daemon(stack, conf, "radosgw", "-f", "-n", "client.rgw")
        _wait(conf, gateway, lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def _prepare(folder: Path, monitor_port: int, port: int) -> Path:
    for name in ("mon", "osd", "rgw", "run", "log"):
        (folder / name).mkdir()
    fsid = str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_CONF.format(fsid=fsid, folder=folder, mon=monitor_port, rgw=port))
    address = f"[v2:127.0.0.1:{monitor_port}]"
    _run(conf, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
    return conf


def _start_cluster(stack: ExitStack, conf: Path) -> None:
    monmap, disk = conf.parent / "monmap", str(uuid.uuid4())
    _run(conf, "ceph-mon", "-i", "a", "--mkfs", "--monmap", str(monmap))
    _daemon(stack, conf, "ceph-mon", "-f", "-i", "a")
    _run(conf, "ceph", "--connect-timeout", "20", "osd", "new", disk)
    _run(conf, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
    _daemon(stack, conf, "ceph-osd", "-f", "-i", "0")


def _run(conf: Path, *command: str) -> str:
    done = subprocess.run(
        [*command, "-c", str(conf)], capture_output=True, text=True, timeout=_START_SECONDS, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]}"
    return done.stdout


def _daemon(stack: ExitStack, conf: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a daemon that ends at the end of `stack`, or with the process that started it."""
    with (conf.parent / "log" / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command, "-c", str(conf)], stdout=out, stderr=out
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _wait(conf: Path, process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not done():
        logs = conf.parent / "log"
        if process.poll() is not None or time.monotonic() > end:
            told = "".join(path.read_text(errors="replace")[-800:] for path in sorted(logs.glob("*")))
            raise AssertionError(f"Ceph did not start: {told}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.")
    except OSError:
        return False
