"""Bundles under the real `seldon-core-microservice` 1.17.1, in an environment with its pins."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cd4ml.adapters.signing import VERIFY_KEY, generate_keypair
from cd4ml.errors import RowError
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.bundles import bundle, copy
from tests.serving.seldon_server import (
    LOCK,
    Seldon,
    in_environment,
    make,
    running,
    seldon_environment,
    start,
    variables,
)

pytestmark = [pytest.mark.serving, pytest.mark.xdist_group("seldon")]

CLOSURE = """
import json, sys, warnings
warnings.simplefilter("error")
from pathlib import Path
import numpy as np
from cd4ml.models.runtime import Bundle, holdout_rows
found = {"numpy": np.__version__, "equal": {}, "features": {}}
for name in sys.argv[1:]:
    folder = Path(name)
    bundle, rows = Bundle.load(folder), holdout_rows(folder)
    parts = [rows[i : i + 50] for i in range(0, len(rows), 50)]
    outputs = np.concatenate([bundle.predict_rows(part)["prediction"] for part in parts])
    features = np.concatenate([bundle.features(bundle.columns(part)) for part in parts])
    judged = np.load(folder / "holdout/prediction.npy")
    found["equal"][folder.name] = bool((outputs.astype(np.float32) == judged).all())
    found["features"][folder.name] = np.array_equal(
        features, np.load(folder / "holdout/features.npy"), equal_nan=True
    )
import cd4ml.serving.seldon
found["foreign"] = [name for name in ("kserve", "orjson", "polars", "minio", "typer") if name in sys.modules]
print(json.dumps(found))
"""

CALL = """
import json, sys
import grpc
from seldon_core.proto import prediction_pb2_grpc
from seldon_core.utils import json_to_seldon_message, seldon_message_to_json
stub = prediction_pb2_grpc.ModelStub(grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}"))
for message in json.loads(sys.argv[2]):
    print(json.dumps(seldon_message_to_json(stub.Predict(json_to_seldon_message(message), timeout=30))))
"""


PREDICT = """
import json, sys
import numpy as np
from cd4ml.serving.seldon import BundleModel
from seldon_core.flask_utils import SeldonMicroserviceException
model, rows = BundleModel(bundle=sys.argv[1], version="7"), json.loads(sys.argv[2])
names = list(rows[0])
answer = model.predict(np.array([[row[name] for name in names] for row in rows], dtype=object), names)
try:
    model.predict(np.array([[1.0]]), ["vistors"])
except SeldonMicroserviceException as error:
    refused = [error.status_code, error.message]
print(json.dumps([answer.data, answer.tags, [item["key"] for item in answer.metrics], refused]))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seldon]:
    log = tmp_path_factory.mktemp("seldon") / "shop.log"
    names = {"PREDICTIVE_UNIT_ID": "shop", "PREDICTOR_ID": "canary"}
    settings = [{"name": "version", "value": "7", "type": "STRING"}]
    settings += [{"name": "max_body_bytes", "value": "200000", "type": "INT"}]
    with running(bundle("shop"), log, "--parameters", json.dumps(settings), **names) as server:
        yield server


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seldon]:
    with running(
        bundle("people"), tmp_path_factory.mktemp("seldon") / "people.log", GRPC_WORKERS="0"
    ) as server:
        yield server


def shop_rows(count: int = 2) -> list[dict[str, Any]]:
    return holdout_rows(bundle("shop"))[:count]


def judged(name: str, output: str = "prediction") -> Any:
    return np.load(bundle(name) / "holdout" / f"{output}.npy").astype(np.float64)


def is_judged(found: Any, wanted: Any) -> bool:
    return bool((np.abs(np.asarray(found) - wanted) <= 1e-5 * np.maximum(1, np.abs(wanted))).all())


def counts(server: Seldon, name: str) -> dict[tuple[str, str, str, str], float]:
    """Return (variant, version, outcome, kind) -> value."""
    found: dict[tuple[str, str, str, str], float] = {}
    for family in text_string_to_metric_families(server.metrics()):
        for sample in family.samples:
            if sample.name == name:
                labels = [sample.labels.get(key, "") for key in ("variant", "version", "outcome", "kind")]
                key = (labels[0], labels[1], labels[2], labels[3])
                found[key] = found.get(key, 0) + sample.value
    return found


def test_what_serves_predicts_the_same_bits_under_the_pins_and_imports_nothing_else() -> None:
    found = json.loads(in_environment(CLOSURE, str(bundle("shop")), str(bundle("people"))))
    assert found["numpy"].startswith("1.26.")
    assert found["equal"] == {"shop": True, "people": True}
    assert found["features"] == {"shop": True, "people": True}
    assert found["foreign"] == []


def test_every_holdout_row_is_predicted_as_it_was_judged(shop: Seldon, people: Seldon) -> None:
    answer = shop.rows(holdout_rows(bundle("shop"))).json()["jsonData"]
    assert is_judged(answer["predictions"], judged("shop"))
    assert is_judged(answer["quantiles"], judged("shop", "quantile"))
    assert (answer["model_name"], answer["model_version"]) == ("shop", "7")
    rows = holdout_rows(bundle("people"))
    parts = [people.rows(rows[i : i + 50]).json()["jsonData"]["predictions"] for i in range(0, len(rows), 50)]
    assert is_judged([value for part in parts for value in part], judged("people"))


def test_rows_of_values_are_answered_with_columns(shop: Seldon) -> None:
    rows = shop_rows(3)
    names = sorted(rows[0], reverse=True)
    values = [[row[name] for name in names] for row in rows]
    answer = shop.predict("/api/v1.0/predictions", json={"data": {"names": names, "ndarray": values}}).json()
    assert answer["data"]["names"] == ["prediction", "quantile"]
    wanted = np.stack([judged("shop")[:3], judged("shop", "quantile")[:3]], axis=1)
    assert is_judged(answer["data"]["ndarray"], wanted)


def test_answers_say_who_answered_and_what_was_unknown(shop: Seldon) -> None:
    message = {"jsonData": [{**shop_rows(1)[0], "store": "nowhere"}], "meta": {"puid": "p-1"}}
    meta = shop.predict(json=message).json()["meta"]
    tags = meta["tags"]
    assert (tags["model"], tags["version"], tags["variant"]) == ("shop", "7", "canary")
    assert tags["bundle"] == Bundle.load(bundle("shop")).id
    assert [(item["field"], item["values"], item["rows"]) for item in tags["unknown"]] == [
        ("store", ["nowhere"], [0])
    ]
    assert meta["puid"] == "p-1"
    assert "unknown" not in shop.rows(shop_rows(1)).json()["meta"]["tags"]


def test_a_wrong_row_is_refused_by_name_in_the_words_of_the_server(shop: Seldon, people: Seldon) -> None:
    rows = [shop_rows(1)[0], {**shop_rows(1)[0], "visitors": -1}]
    with pytest.raises(RowError) as told:
        Bundle.load(bundle("shop")).columns(rows)
    answer = shop.rows(rows)
    body = answer.json()
    assert answer.status_code == body["status"]["code"] == 400
    assert body["status"]["info"] == str(told.value)
    error = body["meta"]["tags"]["error"]
    assert (error["field"], error["found"], error["row"]) == ("visitors", "-1", 1)
    assert error["allowed"] == told.value.allowed

    unknown = people.rows([{**holdout_rows(bundle("people"))[0], "plan": "gold"}])
    assert unknown.status_code == 400
    assert unknown.json()["meta"]["tags"]["error"]["field"] == "plan"
    assert "basic" in unknown.json()["status"]["info"]


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"data": "{", "headers": {"content-type": "application/json"}}, 400, "JSON"),
        ({"data": "[" * 90000, "headers": {"content-type": "application/json"}}, 400, "JSON"),
        ({"data": {"json": "{"}}, 400, "JSON"),
        ({"json": {"strData": "x"}}, 400, "jsonData or data"),
        ({"json": {"jsonData": {"day": "x"}}}, 400, "a list of objects"),
        ({"json": {"data": {"names": ["day"], "ndarray": [[1, 2]]}}}, 400, "1 values each"),
        ({"json": {"jsonData": [{"wether": "sun"}]}}, 400, "did you mean 'weather'"),
        ({"data": b"[" + b"1," * 150000 + b"1]"}, 413, "at most 200000 bytes"),
        ({"data": iter([b"[", b"1," * 150000, b"1]"])}, 413, "at most 200000 bytes"),
    ],
)
def test_what_is_no_message_is_the_callers_error(
    shop: Seldon, sent: dict[str, Any], status: int, words: str
) -> None:
    answer = shop.predict(**sent)
    assert answer.status_code == status
    assert words in answer.json()["status"]["info"]
    assert "Traceback" not in answer.text


def test_unknown_paths_are_404_and_other_methods_405(shop: Seldon) -> None:
    assert shop.get("/nowhere").status_code == 404
    assert shop.predict("/health/ping", data="x").status_code == 405


def test_a_body_in_chunks_is_answered(shop: Seldon) -> None:
    body = json.dumps({"jsonData": shop_rows(1)}).encode()
    answer = shop.predict(data=iter([body[:20], body[20:]]), headers={"content-type": "application/json"})
    assert is_judged(answer.json()["jsonData"]["predictions"], judged("shop")[:1])


def test_requests_and_refusals_are_counted_with_version_and_variant(shop: Seldon) -> None:
    name, errors = "cd4ml_requests_total", "cd4ml_request_errors_total"
    before, before_errors = counts(shop, name), counts(shop, errors)
    seconds = counts(shop, "cd4ml_request_seconds_count")
    for rows in (shop_rows(1), shop_rows(2), [{**shop_rows(1)[0], "price": "dear"}]):
        shop.rows(rows)
    ok, refused = ("canary", "7", "ok", ""), ("canary", "7", "client_error", "")
    after = counts(shop, name)
    assert after[ok] - before.get(ok, 0) == 2
    assert after[refused] - before.get(refused, 0) == 1
    key = ("canary", "7", "", "refused")
    assert counts(shop, errors)[key] - before_errors.get(key, 0) == 1
    assert counts(shop, "cd4ml_request_seconds_count")[ok] - seconds.get(ok, 0) == 2
    assert counts(shop, "cd4ml_request_seconds_sum")[ok] < 60  # Seldon takes milliseconds and shows seconds
    assert counts(shop, "cd4ml_served_info")[("canary", "7", "", "")] >= 1


def test_health_and_metadata_tell_the_model(shop: Seldon) -> None:
    assert shop.get("/health/ping").text == "pong"
    health = shop.get("/health/status").json()["jsonData"]
    assert (health["status"], health["version"], health["variant"]) == ("ready", "7", "canary")
    metadata = shop.get("/metadata").json()
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("shop", ["7"], "cd4ml")
    assert metadata["custom"]["bundle"] == Bundle.load(bundle("shop")).id
    fields = metadata["inputs"][0]["schema"]["items"]["properties"]
    assert fields["visitors"]["minimum"] == 0
    assert [output["name"] for output in metadata["outputs"]] == ["prediction", "quantile"]


def test_grpc_answers_the_same(shop: Seldon) -> None:
    rows = shop_rows(2)
    messages = [{"jsonData": rows}, {"jsonData": [{**rows[0], "visitors": -1}]}]
    lines = in_environment(CALL, str(shop.grpc_port), json.dumps(messages)).splitlines()
    answered, refused = (json.loads(line) for line in lines)
    assert is_judged(answered["jsonData"]["predictions"], judged("shop")[:2])
    assert answered["meta"]["tags"]["variant"] == "canary"
    assert (refused["status"]["code"], refused["meta"]["tags"]["error"]["field"]) == (400, "visitors")
    assert counts(shop, "cd4ml_requests_total")[("canary", "7", "ok", "")] >= 1


def test_a_programme_of_seldon_can_call_the_model_too() -> None:
    told = json.loads(in_environment(PREDICT, str(bundle("shop")), json.dumps(shop_rows(2))))
    data, tags, keys, (status, message) = told
    assert is_judged([row[0] for row in data], judged("shop")[:2])
    assert tags["version"] == "7"
    assert "cd4ml_requests" in keys
    assert status == 400
    assert "did you mean 'visitors'" in message


def test_the_log_has_fields_but_no_inputs(shop: Seldon) -> None:
    shop.rows([{**shop_rows(1)[0], "store": "hidden-store", "visitors": "hidden-value"}])
    text = shop.log.read_text()
    assert "refused with 400: field 'visitors'" in text
    assert "hidden" not in text


def test_without_grpc_the_server_ends_when_it_is_told(tmp_path: Path) -> None:
    with running(bundle("people"), tmp_path / "log", GRPC_WORKERS="0") as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0


@pytest.mark.parametrize(
    ("damage", "words"), [("altered", "'model.onnx'"), ("unsigned", "UNSIGNED"), ("absent", "is none")]
)
def test_a_bundle_that_is_not_right_never_listens(tmp_path: Path, damage: str, words: str) -> None:
    folder = copy("people", tmp_path / "bundle")
    environment = {}
    if damage == "altered":
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"x")
    elif damage == "absent":
        shutil.rmtree(folder)
    else:
        environment[VERIFY_KEY] = generate_keypair()[1]
    server = start(folder, tmp_path / "log", **environment)
    try:
        assert server.process.wait(30) == 1
    finally:
        if server.process.poll() is None:
            os.killpg(server.process.pid, signal.SIGKILL)
    last = server.log.read_text().strip().splitlines()[-1]
    assert words in last
    assert not server.ready()


def test_the_script_installs_cd4ml_without_its_own_requirements(tmp_path: Path) -> None:
    seldon_environment()  # skips where none can be made
    made = make(tmp_path / "environment", "--install")
    assert made.returncode == 0, made.stderr
    code = "import cd4ml, numpy, cd4ml.serving.seldon as s; print(s.__file__, numpy.__version__)"
    environment = {name: value for name, value in variables().items() if name != "PYTHONPATH"}
    told = subprocess.run(
        [str(tmp_path / "environment/bin/python"), "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith(str(tmp_path / "environment"))
    assert " 1.26." in told
    assert (tmp_path / "environment/.installed").read_text()
    assert not (tmp_path / "environment/bin/cd4ml").exists()


def test_the_lock_has_a_hash_for_each_package_and_names_no_server() -> None:
    text = LOCK.read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert "seldon-core==1.17.1 \\" in pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "http" not in text
    assert "index" not in text
