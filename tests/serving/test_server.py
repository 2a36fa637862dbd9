"""What was judged is what a real model server answers, and what it refuses it refuses by name."""

import json
import shutil
import signal
import socket
import subprocess
import time
from typing import Any

import jsonschema
import numpy as np
import pytest

from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.bundles import bundle, copy
from tests.serving.model_server import Running, command, free_port, running
from tests.serving.protocol import binary, close, datatypes, tensors_of


def promised(name: str, output: str = "prediction") -> Any:
    return np.load(bundle(name) / "holdout" / f"{output}.npy").astype(np.float64)


def tensors(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return tensors_of(datatypes(bundle(name)), rows)


@pytest.mark.parametrize("name", ["shop", "people"])
def test_the_holdout_through_v1_is_what_the_judge_saw(
    name: str, shop_server: Running, people_server: Running
) -> None:
    server = {"shop": shop_server, "people": people_server}[name]
    rows, expected = holdout_rows(bundle(name)), promised(name)
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(rows))
    found = np.empty(len(rows))
    for part in np.array_split(order, 5):
        answer = server.v1([rows[i] for i in part])
        assert answer.status_code == 200, answer.text
        found[part] = answer.json()["predictions"]
    assert close(found, expected)
    assert close(server.v1(rows[:1]).json()["predictions"], expected[:1])


def test_the_second_output_comes_along(shop_server: Running) -> None:
    answer = shop_server.v1(holdout_rows(bundle("shop"))[:7]).json()
    assert close(answer["quantiles"], promised("shop", "quantile")[:7])
    assert answer["model_name"] == "shop"
    assert answer["model_version"] == Bundle.load(bundle("shop")).id[:12]


def test_v2_gives_the_same_from_json_tensors(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))
    answer = shop_server.v2(json={"id": "seven", "inputs": tensors("shop", rows)}).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert answer["id"] == "seven"
    assert outputs["prediction"]["shape"] == [len(rows)]
    assert close(outputs["prediction"]["data"], promised("shop"))
    assert close(outputs["quantile"]["data"], promised("shop", "quantile"))


def test_v2_gives_the_same_from_and_to_binary_tensors(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))
    body, headers = binary(tensors("shop", rows), parameters={"binary_data_output": True})
    answer = shop_server.v2(data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    size = int(answer.headers["Inference-Header-Content-Length"])
    first, second = json.loads(answer.content[:size])["outputs"]
    end = size + first["parameters"]["binary_data_size"]
    assert (first["name"], second["name"]) == ("prediction", "quantile")
    assert close(np.frombuffer(answer.content[size:end], "<f8"), promised("shop"))
    assert len(answer.content) == end + second["parameters"]["binary_data_size"]


def test_only_outputs_that_are_asked_for_come(shop_server: Running) -> None:
    inputs = tensors("shop", holdout_rows(bundle("shop"))[:1])
    answer = shop_server.v2(json={"inputs": inputs, "outputs": [{"name": "quantile"}]}).json()
    assert [output["name"] for output in answer["outputs"]] == ["quantile"]
    refused = shop_server.v2(json={"inputs": inputs, "outputs": [{"name": "median"}]})
    assert (refused.status_code, refused.json()["allowed"]) == (400, "prediction, quantile")


def test_unknown_values_are_taken_as_rare_and_the_answer_says_so(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))[:2]
    assert "unknown" not in shop_server.v1(rows).json()
    rows[1]["store"] = "the moon"
    answer = shop_server.v1(rows).json()
    assert len(answer["predictions"]) == 2
    (found,) = answer["unknown"]
    assert (found["field"], found["values"], found["rows"]) == ("store", ["the moon"], [1])
    assert found["treated_as"] == "a rare category, one without history"
    second = shop_server.v2(json={"inputs": tensors("shop", rows)}).json()
    assert json.loads(second["parameters"]["unknown"]) == answer["unknown"]


def test_where_the_contract_refuses_unknown_values_the_answer_names_what_is_allowed(
    people_server: Running,
) -> None:
    row = {**holdout_rows(bundle("people"))[0], "plan": "bassic"}
    answer = people_server.v1([row])
    found = answer.json()
    assert answer.status_code == 400
    assert (found["row"], found["field"], found["found"]) == (0, "plan", "'bassic'")
    assert found["allowed"] == "a text, one of: basic, old, plus"
    assert "did you mean 'basic'" in found["error"]


def test_a_request_keeps_its_id_and_gets_one_where_it_has_none(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))[:1]
    assert shop_server.v1(rows, headers={"Ce-Id": "mine"}).headers["Ce-Id"] == "mine"
    made = {shop_server.v1(rows).headers["Ce-Id"] for _ in range(2)}
    assert len(made) == 2 and "" not in made
    assert shop_server.v1([], headers={"Ce-Id": "bad"}).headers["Ce-Id"] == "bad"


def test_metadata_carry_the_contract_and_the_limits(shop_server: Running) -> None:
    found = shop_server.get("/v2/models/shop").json()
    assert found["contract"] == json.loads((bundle("shop") / "contract.json").read_bytes())
    assert found["limits"] == {"body_bytes": 200_000, "rows": 10_000}
    assert {"name": "store", "datatype": "BYTES", "shape": [-1]} in found["inputs"]
    assert [output["name"] for output in found["outputs"]] == ["prediction", "quantile"]
    version = found["versions"][0]
    assert shop_server.get(f"/v2/models/shop/versions/{version}").json() == found
    assert shop_server.get("/v2/models/shop/versions/other").json()["allowed"] == version


def test_the_openapi_document_describes_what_is_sent_and_what_comes_back(shop_server: Running) -> None:
    document = shop_server.get("/openapi.json").json()
    row = holdout_rows(bundle("shop"))[0]
    answers = {
        "Instances": {"instances": [row]},
        "Predictions": shop_server.v1([row]).json(),
        "InferRequest": {"inputs": tensors("shop", [row])},
        "InferResponse": shop_server.v2(json={"inputs": tensors("shop", [row])}).json(),
        "Metadata": shop_server.get("/v2/models/shop").json(),
        "Error": shop_server.v1([{}]).json(),
    }
    for name, value in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)
    wrong = {"instances": [{**row, "visitors": -1}]}
    schema = {"$ref": "#/components/schemas/Instances", "components": document["components"]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def first_line(server: Running, sent: bytes) -> bytes:
    """Send the beginning of a request, and return the first line of what comes back meanwhile."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(f"POST /v1/models/{server.name}:predict HTTP/1.1\r\nHost: x\r\n".encode() + sent)
        return connection.recv(4096).split(b"\r\n")[0]


def test_a_body_that_is_too_large_is_refused_before_all_of_it_came(shop_server: Running) -> None:
    answer = shop_server.post("/v1/models/shop:predict", data=b" " * 200_001)
    assert answer.status_code == 413
    assert answer.json()["allowed"] == "a body of at most 200000 bytes"
    assert b" 413 " in first_line(shop_server, b"Content-Length: 200001\r\n\r\n")
    chunk = b"Transfer-Encoding: chunked\r\n\r\n30d41\r\n" + b" " * 0x30D41  # and no end
    assert b" 413 " in first_line(shop_server, chunk)


def test_more_rows_than_the_contract_allows_are_refused(people_server: Running) -> None:
    answer = people_server.v1(holdout_rows(bundle("people"))[:51])
    assert answer.status_code == 413
    assert (answer.json()["found"], answer.json()["allowed"]) == ("51 rows", "from 1 to 50 rows")


def test_a_body_that_does_not_arrive_is_given_up(people_server: Running) -> None:
    assert b" 408 " in first_line(people_server, b"Content-Length: 50\r\n\r\n{")


def test_an_unknown_model_is_not_found(shop_server: Running) -> None:
    answer = shop_server.post("/v1/models/shopp:predict", json={"instances": []})
    assert answer.status_code == 404
    assert answer.json()["allowed"] == "shop"


def test_compressed_bodies_are_not_taken(shop_server: Running) -> None:
    assert shop_server.v1([], headers={"Content-Encoding": "gzip"}).status_code == 415


def test_spoilt_bodies_get_a_refusal_and_never_an_error_of_the_server(shop_server: Running) -> None:
    rng = np.random.Generator(np.random.PCG64(8))
    rows = holdout_rows(bundle("shop"))[:1]
    bodies = {"v1": {"instances": rows}, "v2": {"inputs": tensors("shop", rows)}}
    paths = {"v1": "/v1/models/shop:predict", "v2": "/v2/models/shop/infer"}
    found = set()
    for n in range(200):
        protocol = ("v1", "v2")[n % 2]
        raw = bytearray(json.dumps(bodies[protocol]).encode())
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            raw[place] = rng.integers(0, 256)
        answer = shop_server.post(paths[protocol], data=bytes(raw))
        found.add(answer.status_code)
        assert "Traceback" not in answer.text
        assert answer.ok or {"error", "field", "found", "allowed"} <= answer.json().keys()
    assert found <= {200, 400}
    assert 400 in found


def test_an_altered_bundle_does_not_start_and_the_file_is_named(tmp_path: Any) -> None:
    folder = copy("people", tmp_path / "altered")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"!")
    done = subprocess.run(
        command(folder, "people", free_port()), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "model.onnx" in done.stderr


def test_a_request_under_way_is_answered_before_the_server_stops() -> None:
    rows = holdout_rows(bundle("people"))[:1]
    body = json.dumps({"instances": rows}).encode()
    with running(bundle("people"), "people") as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            head = (
                f"POST /v1/models/people:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:5])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", server.port), 1)
            connection.sendall(body[5:])
            answer = connection.recv(65_536)
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert server.process.wait(20) == 0


def test_several_workers_answer_alike_and_all_end() -> None:
    folder = bundle("people")
    rows, expected = holdout_rows(folder)[:10], promised("people")[:10]
    with running(folder, "people", "--workers", "2", "--model-version", "7") as server:
        answers = [server.v1(rows).json() for _ in range(12)]
        assert all(close(answer["predictions"], expected) for answer in answers)
        assert {answer["model_version"] for answer in answers} == {"7"}
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", server.port), 1)
        assert server.stop() == 0


def test_it_listens_on_the_address_that_it_was_told_alone(shop_server: Running) -> None:
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", shop_server.port), 1)


def test_a_server_does_not_need_its_bundle_after_the_start(tmp_path: Any) -> None:
    folder = copy("people", tmp_path / "gone")
    rows = holdout_rows(folder)[:3]
    with running(folder, "people", "--max-rows", "2") as server:
        shutil.rmtree(folder)
        assert close(server.v1(rows[:2]).json()["predictions"], promised("people")[:2])
        assert server.v1(rows).json()["allowed"] == "from 1 to 2 rows"
