"""A stock model behind KServe's own server: V1 without nulls, V2 with binary tensors."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from cd4ml.models.stock_runtime import write_stock
from tests.models.bundles import bundle

pytestmark = pytest.mark.serving


def post(url, body, headers):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@contextmanager
def served(folder, variables):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).parent / "sklearn_server.py"
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(folder), str(port)],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/v2/health/ready", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield url
        process.terminate()


@pytest.mark.parametrize(("name", "outputs"), [("shop", 1), ("people", 2)])
def test_a_stock_server_answers_what_was_judged(tmp_path, name, outputs):
    found = write_stock(bundle(name), tmp_path / "out", scikit_learn=metadata.version("scikit-learn"))
    X = np.load(bundle(name) / "holdout" / "features.npy")
    judged = np.load(bundle(name) / "holdout" / "prediction.npy").astype(np.float64)
    with served(tmp_path / "out", found["environment"]) as url:
        whole = ~np.isnan(X).any(axis=1)
        assert 0 < whole.sum() < len(X)
        first = post(
            f"{url}/v1/models/stock:predict", json.dumps({"instances": X[whole].tolist()}).encode(), {}
        )
        binary = np.ascontiguousarray(X).tobytes()
        head = {"name": "features", "shape": list(X.shape), "datatype": "FP32"}
        head["parameters"] = {"binary_data_size": len(binary)}
        text = json.dumps({"inputs": [head]}).encode()
        length = {"Inference-Header-Content-Length": str(len(text))}
        length["Content-Type"] = "application/octet-stream"
        second = post(f"{url}/v2/models/stock/infer", text + binary, length)
    made = np.array(first["predictions"]).reshape(int(whole.sum()), -1)[:, -1]
    assert (np.abs(made - judged[whole]) / np.maximum(1, np.abs(judged[whole]))).max() <= 1e-5
    values = np.array(second["outputs"][0]["data"]).reshape(len(X), outputs)[:, -1]
    assert (np.abs(values - judged) / np.maximum(1, np.abs(judged))).max() <= 1e-5
