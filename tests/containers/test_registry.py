"""Images in a registry: what is pushed is pulled and run by its digest."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cd4ml.adapters.kubeflow import run_local
from cd4ml.errors import Cd4mlError
from tests.adapters.s3_server import environment
from tests.containers.engine import HARDENED, Engine
from tests.containers.misbehaving import compile_misbehaving

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


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
def pushed(engine: Engine, registry: str, components: str) -> str:
    """Return the components' image in the registry, by digest, and take away the name that was pushed."""
    name = f"{registry}/team/cd4ml-python"
    assert engine.call("tag", components, f"{name}:1").returncode == 0
    options = ("--tls-verify=false",) if engine.name == "podman" else ()
    done = engine.call("push", "--quiet", *options, f"{name}:1", timeout=300)
    assert done.returncode == 0, done.stderr
    accepted = (
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    )
    answer = requests.head(
        f"http://{registry}/v2/team/cd4ml-python/manifests/1", headers={"Accept": accepted}, timeout=30
    )
    assert engine.call("rmi", f"{name}:1").returncode == 0
    return f"{name}@{answer.headers['Docker-Content-Digest']}"


def test_a_pipeline_runs_in_the_image_of_a_digest_which_is_pulled(
    engine: Engine, pushed: str, tmp_path
) -> None:
    assert engine.call("image", "inspect", pushed).returncode != 0
    package = compile_misbehaving(pushed, tmp_path)
    given = {"code": "said = 'ran'", "data": "here", "store": "there"}
    with environment(**engine.variables):
        run = run_local(package, given, tmp_path, runner="docker")
    assert run.parameters("second") == {"Output": "ran"}
    assert engine.call("image", "inspect", pushed).returncode == 0


def test_what_was_pulled_is_the_image_that_was_pushed(engine: Engine, pushed: str, components: str) -> None:
    options = ("--tls-verify=false",) if engine.name == "podman" else ()
    assert engine.call("pull", "--quiet", *options, pushed, timeout=300).returncode == 0
    assert engine.inspect(pushed)["Id"] == engine.inspect(components)["Id"]
    done = engine.call("run", *HARDENED, "--network=none", pushed, "cd4ml", "--version")
    assert done.returncode == 0, done.stderr


def test_a_digest_that_the_registry_does_not_have_fails_the_run(
    engine: Engine, pushed: str, tmp_path
) -> None:
    package = compile_misbehaving(f"{pushed.partition('@')[0]}@sha256:{'0' * 64}", tmp_path)
    given = {"code": "said = 'ran'", "data": "here", "store": "there"}
    with environment(**engine.variables), pytest.raises(Cd4mlError, match="the local runner failed"):
        run_local(package, given, tmp_path, runner="docker")


def test_a_blob_that_was_altered_in_the_registry_is_refused(
    engine: Engine, registry: str, pushed: str, tmp_path_factory
) -> None:
    answer = requests.get(
        f"http://{registry}/v2/team/cd4ml-python/manifests/{pushed.partition('@')[2]}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        timeout=30,
    )
    config = answer.json()["config"]["digest"].partition(":")[2]
    found = tmp_path_factory.getbasetemp().glob(f"registry*/kept/**/sha256/{config[:2]}/{config}/data")
    (kept,) = {path.resolve() for path in found}
    whole = kept.read_bytes()
    try:
        kept.write_bytes(whole.replace(b"10001", b"00000"))
        engine.call("rmi", "--force", pushed)
        options = ("--tls-verify=false",) if engine.name == "podman" else ()
        assert engine.call("pull", "--quiet", *options, pushed).returncode != 0
    finally:
        kept.write_bytes(whole)
