"""Images in a registry: what is pushed is pulled and run by its digest."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from cd4ml.adapters.kubeflow import run_local
from cd4ml.errors import Cd4mlError
from tests.adapters.s3_server import environment
from tests.containers.engine import HARDENED, Engine
from tests.containers.misbehaving import compile_misbehaving

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

ACCEPTED = {
    "Accept": "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
}


@dataclass(frozen=True)
class Pushed:
    reference: str
    identity: str


def plain(engine: Engine) -> tuple[str, ...]:
    """Return what makes the engine speak plain HTTP; docker does so on the loopback."""
    return ("--tls-verify=false",) if engine.name == "podman" else ()


@pytest.fixture(scope="module")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a registry on this machine, empty."""
    if not shutil.which("docker-registry"):
        pytest.skip("no docker-registry; apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{engine.registry_port}"
    (folder / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'kept'}}}}}\n"
        f"http: {{addr: '{address}', secret: of-this-test}}\n"
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", folder / "registry.yml"], stdout=log, stderr=log
        )
    try:
        _wait_for(f"http://{address}/v2/", folder / "log")
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def pushed(engine: Engine, registry: str, components: str) -> Iterator[Pushed]:
    """Push the components' image, take it away from the engine, and yield what it is called by digest."""
    name, identity = f"{registry}/team/cd4ml-python", engine.inspect(components)["Id"]
    assert engine.call("tag", components, f"{name}:1").returncode == 0
    done = engine.call("push", "--quiet", *plain(engine), f"{name}:1", timeout=300)
    assert done.returncode == 0, done.stderr
    answer = requests.head(
        f"http://{registry}/v2/team/cd4ml-python/manifests/1", headers=ACCEPTED, timeout=30
    )
    reference = f"{name}@{answer.headers['Docker-Content-Digest']}"
    assert engine.call("rmi", "--force", identity).returncode == 0
    try:
        yield Pushed(reference, identity)
    finally:
        engine.call("pull", "--quiet", *plain(engine), reference, timeout=300)
        engine.call("tag", reference, components)


def test_a_pipeline_runs_in_the_image_of_a_digest_which_is_pulled(engine, pushed: Pushed, tmp_path) -> None:
    assert engine.call("image", "inspect", pushed.reference).returncode != 0
    package = compile_misbehaving(pushed.reference, tmp_path)
    given = {"code": "said = 'ran'", "data": "here", "store": "there"}
    with environment(**engine.variables):
        run = run_local(package, given, tmp_path, runner="docker")
    assert run.parameters("second") == {"Output": "ran"}
    assert engine.inspect(pushed.reference)["Id"] == pushed.identity


def test_the_command_runs_in_the_image_of_a_digest(engine: Engine, pushed: Pushed) -> None:
    assert engine.call("pull", "--quiet", *plain(engine), pushed.reference, timeout=300).returncode == 0
    done = engine.call("run", *HARDENED, "--network=none", pushed.reference, "cd4ml", "--version")
    assert done.returncode == 0, done.stderr


def test_a_digest_that_the_registry_does_not_have_fails_the_run(
    engine: Engine, pushed: Pushed, tmp_path
) -> None:
    package = compile_misbehaving(f"{pushed.reference.partition('@')[0]}@sha256:{'0' * 64}", tmp_path)
    given = {"code": "said = 'ran'", "data": "here", "store": "there"}
    with environment(**engine.variables), pytest.raises(Cd4mlError, match="the local runner failed"):
        run_local(package, given, tmp_path, runner="docker")


def test_a_blob_that_was_altered_in_the_registry_is_refused(
    engine: Engine, registry: str, pushed: Pushed, tmp_path_factory
) -> None:
    answer = requests.get(
        f"http://{registry}/v2/team/cd4ml-python/manifests/{pushed.reference.partition('@')[2]}",
        headers=ACCEPTED,
        timeout=30,
    )
    config = answer.json()["config"]["digest"].partition(":")[2]
    found = tmp_path_factory.getbasetemp().glob(f"registry*/kept/**/sha256/{config[:2]}/{config}/data")
    (kept,) = {path.resolve() for path in found}
    whole = kept.read_bytes()
    try:
        kept.write_bytes(whole.replace(b"10001", b"00000"))
        engine.call("rmi", "--force", pushed.identity)
        assert engine.call("pull", "--quiet", *plain(engine), pushed.reference).returncode != 0
    finally:
        kept.write_bytes(whole)
