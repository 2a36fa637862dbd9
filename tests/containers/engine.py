"""The container engine of this machine: podman with an empty store of its own, or docker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.serving.model_server import free_port

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
KINDS = ("components", "predictor", "controller", "seldon")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

KEPT = "CD4ML_TEST_CONTAINERS"
"""Variable that names a folder which keeps podman's store for the next run."""

HARDENED = (
    "--rm",
    "--pull=never",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=10001:10001",
    "--memory=1g",
    "--tmpfs=/tmp:rw,nosuid,nodev,mode=1777",
)
"""How a container runs here: as the manifests have it on a cluster."""


@dataclass(frozen=True)
class Engine:
    """A container engine: its command, and the environment in which that one is our own."""

    name: str
    variables: dict[str, str]
    registry_port: int
    built: dict[str, dict[str, Any]] = field(default_factory=dict)

    def call(self, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the engine's command."""
        return self.run(self.name, *arguments, timeout=timeout)

    def run(self, *command: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command that finds this engine."""
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env={**os.environ, **self.variables},
            timeout=timeout,
            check=False,
            cwd=ROOT,
        )

    def cd4ml(self, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `cd4ml` of this machine, as a user does."""
        settings = [f"{name}={value}" for name, value in more.items()]
        return self.run("env", *settings, sys.executable, "-m", "cd4ml.cli", *arguments, timeout=600)

    def inspect(self, image: str) -> dict[str, Any]:
        """Return what the engine knows of an image."""
        found = self.call("image", "inspect", image)
        assert not found.returncode, found.stderr
        value: dict[str, Any] = json.loads(found.stdout)[0]
        return value

    @contextmanager
    def serving(self, image: str, *options: object, command: tuple[object, ...] = ()) -> Iterator[str]:
        """Run a hardened container in the background and yield its id; show its log when the block fails."""
        started = self.call("run", "--detach", *HARDENED, *options, image, *command)
        assert not started.returncode, started.stderr
        container = started.stdout.strip()
        try:
            yield container
        except BaseException:
            log = self.call("logs", container)
            sys.stderr.write(log.stdout[-4000:] + log.stderr[-4000:])
            raise
        finally:
            self.call("rm", "--force", container)


def find_engine() -> str:
    """Return podman or docker, CD4ML_TEST_ENGINE first; skips by name when there is neither."""
    asked = os.environ.get("CD4ML_TEST_ENGINE")
    for name in [asked] if asked else ["podman", "docker"]:
        if (
            shutil.which(name)
            and not subprocess.run([name, "info"], capture_output=True, check=False).returncode
        ):
            return name
    pytest.skip(
        f"no container engine ({asked or 'podman or docker'}); "
        "apt-get install --no-install-recommends podman runc debootstrap docker-registry"
    )


@contextmanager
def own_engine() -> Iterator[Engine]:
    """Yield an engine. That of podman has an empty store, which is gone at the end; docker keeps its images.

    CD4ML_TEST_CONTAINERS names a folder that keeps the store for the next run, so that images are not built
    again while tests are written.
    """
    if find_engine() == "docker":
        host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        yield Engine("docker", {"DOCKER_HOST": host}, free_port())
        return
    kept = os.environ.get(KEPT)
    # Not beneath pytest's folders: a socket's path has 107 characters at most.
    folder = Path(kept or tempfile.mkdtemp(prefix="cd4ml-containers-"))
    folder.mkdir(exist_ok=True)
    engine = Engine("podman", _settings(folder), free_port())
    _write_registries(folder, engine.registry_port)
    try:
        with _service(engine, folder):
            yield engine
    finally:
        engine.call("rm", "--all", "--force")
        if not kept:
            engine.call("rmi", "--all", "--force")
            _remove(folder)


def _settings(folder: Path) -> dict[str, str]:
    """Write podman's settings, all of whose places are beneath `folder`; return the variables for them."""
    shipped = (ROOT / "images/podman/containers.conf").read_text()
    if not CERTIFICATES.exists():
        shipped = "\n".join(line for line in shipped.splitlines() if not line.startswith("volumes ="))
    if not shutil.which("runc"):
        shipped = "\n".join(line for line in shipped.splitlines() if not line.startswith("runtime ="))
    # A container's end is noted by a process that knows --root and --tmpdir, and no setting beside these.
    (folder / "containers.conf").write_text(f'{shipped}\ntmp_dir = "{folder / "tmp"}"\n')
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "store"}"\nrunroot = "{folder / "run"}"\n'
    )
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "DOCKER_HOST": f"unix://{folder / 'podman.sock'}",
    }


def _write_registries(folder: Path, port: int) -> None:
    """Name our registry, which speaks plain HTTP on the loopback."""
    (folder / "registries.conf").write_text(
        f'unqualified-search-registries = []\n[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n'
    )


@contextmanager
def _service(engine: Engine, folder: Path) -> Iterator[None]:
    """Answer docker's API within the block: kfp speaks to that one."""
    socket = folder / "podman.sock"
    socket.unlink(missing_ok=True)
    with (folder / "service.log").open("w") as log:
        service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", f"unix://{socket}"],
            env={**os.environ, **engine.variables},
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + 30
            while not socket.exists():
                alive = service.poll() is None and time.monotonic() < end
                assert alive, f"podman's service did not start: {(folder / 'service.log').read_text()}"
                time.sleep(0.05)
            yield
        finally:
            service.terminate()
            service.wait(30)


def _remove(folder: Path) -> None:
    """Remove a store, with the mounts that podman keeps in it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
