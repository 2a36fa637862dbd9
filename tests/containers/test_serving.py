"""Servers and the controller from their images: read-only, never root; the model is the judged one."""

import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import requests

from cd4ml.models.runtime import holdout_rows
from tests.containers.engine import HARDENED, Engine
from tests.containers.shop_run import ShopRun
from tests.loop.small_shop import run, sales, write_shop
from tests.serving.model_server import free_port

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

START_SECONDS = 120

WRITES = """
import os, sys
for path in sys.argv[1:]:
    try:
        open(path, "w")
    except OSError:
        continue
    sys.exit(f"{path} could be written to")
sys.exit(os.getuid() == 0)
"""


def wait_for(engine: Engine, container: str, url: str) -> None:
    """Wait until a server answers, or fail with its log."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        state = engine.call("inspect", "--format", "{{.State.Running}}", container).stdout.strip()
        assert state == "true" and time.monotonic() < end, engine.call("logs", container).stderr[-3000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def predictor(engine: Engine, image: Callable[[str], str], shop: ShopRun) -> Iterator[tuple[str, str]]:
    """Yield the container of the model server, and its address; it runs as the ServingRuntime says."""
    assert shop.done.returncode == 0, shop.done.stderr
    port = free_port()
    options = ("--network=host", f"--volume={shop.bundle}:/mnt/models:ro")
    options += ("--tmpfs=/var/lib/cd4ml/events:rw,mode=1777",)
    command = ("python", "-m", "cd4ml.serving.server", "--bundle=/mnt/models", "--name=small-shop")
    command += ("--host=127.0.0.1", f"--http-port={port}", "--workers=2", "--events=/var/lib/cd4ml/events")
    with engine.serving(image("predictor"), *options, command=command) as container:
        wait_for(engine, container, f"http://127.0.0.1:{port}/v2/health/ready")
        yield container, f"http://127.0.0.1:{port}"


def test_the_endpoint_answers_as_the_model_was_judged(engine, predictor, shop: ShopRun) -> None:
    _, address = predictor
    for protocol in ("v1", "v2"):
        done = engine.cd4ml(
            "models", "verify", shop.bundle, "--endpoint", address, "--protocol", protocol, "--json"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)["endpoint"]
        assert report["agrees"] is True


def test_an_endpoint_of_another_model_is_told_from_it(engine, predictor, shop: ShopRun, tmp_path) -> None:
    write_shop(tmp_path / "shop", sales(seed=6))
    done = run(tmp_path / "shop", tmp_path / "out", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    verified = engine.cd4ml("models", "verify", tmp_path / "out/bundle", "--endpoint", predictor[1])
    assert verified.returncode == 3, verified.stdout + verified.stderr


def test_the_server_writes_nothing_and_is_not_root(engine, predictor) -> None:
    container, _ = predictor
    paths = ("/file", "/opt/cd4ml/file", "/mnt/models/model.onnx", "/usr/file", "/etc/passwd")
    done = engine.call("exec", container, "python", "-c", WRITES, *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    events = engine.call("exec", container, "python", "-c", WRITES, "/var/lib/cd4ml/events/new")
    assert events.returncode == 1 and "could be written to" in events.stderr


def test_seldons_microservice_answers_as_the_model_was_judged(
    engine: Engine, image: Callable[[str], str], shop: ShopRun
) -> None:
    port, metrics = free_port(), free_port()
    options = ("--network=host", f"--volume={shop.bundle}:/mnt/models:ro", "--env=GRPC_WORKERS=0")
    options += (f"--env=PREDICTIVE_UNIT_HTTP_SERVICE_PORT={port}", "--env=CD4ML_MODEL_NAME=small-shop")
    options += (f"--env=PREDICTIVE_UNIT_METRICS_SERVICE_PORT={metrics}",)
    rows = holdout_rows(shop.bundle)[:50]
    with engine.serving(image("seldon"), *options) as container:
        wait_for(engine, container, f"http://127.0.0.1:{port}/health/status")
        answer = requests.post(f"http://127.0.0.1:{port}/predict", json={"jsonData": rows}, timeout=30)
        assert answer.ok, answer.text
        told = answer.json()["jsonData"]["predictions"]
        judged = np.load(shop.bundle / "holdout/prediction.npy")[:50]
        assert np.allclose(told, judged, rtol=1e-5, atol=1e-5)
        done = engine.call("exec", container, "python", "-c", WRITES, "/file", "/mnt/models/model.onnx")
        assert done.returncode == 0, done.stderr


def test_the_controller_says_what_it_can(engine: Engine, image: Callable[[str], str]) -> None:
    done = engine.call(
        "run", *HARDENED, "--network=none", image("controller"), "cd4ml", "rollout", "run", "--help"
    )
    assert done.returncode == 0, done.stderr
    assert "Be the controller of rollouts" in done.stdout


def test_the_controller_looks_and_ends_when_it_is_asked_to(
    engine: Engine, image: Callable[[str], str]
) -> None:
    """It runs as its image starts it: on the plane of its own folder, where nothing is to do."""
    with engine.serving(image("controller"), "--network=none") as container:
        age = "import os, time; print(time.time() - os.stat('/tmp/heartbeat').st_mtime)"
        end = time.monotonic() + 60
        while engine.call("exec", container, "python", "-c", age).returncode:
            assert time.monotonic() < end, engine.call("logs", container).stderr
            time.sleep(0.2)
        time.sleep(6)
        looked = engine.call("exec", container, "python", "-c", age)
        assert float(looked.stdout) < 6, "it does not look every 5 s"
        assert engine.call("stop", "--time=20", container).returncode == 0
