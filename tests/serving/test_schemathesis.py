"""The OpenAPI document holds: what it allows is taken, what it forbids is refused, as it says."""

import json
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from cd4ml.models.runtime import holdout_rows
from tests.models.bundles import bundle
from tests.serving.model_server import Running

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
CONFIG = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 413]}}}
)
TAKEN = ("/v1/models/people:predict",)
"""Where the schema says all: nothing but it can be wrong."""
PREDICTIONS = ("predictV1", "inferV2")


def held(server: Running, examples: int) -> dict[str, dict[int, int]]:
    """Hold every operation of a server to its document; return how often each status came, by operation."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=CONFIG)
    found: dict[str, dict[int, int]] = {}
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            name = operation.definition.raw["operationId"]
            found[name] = statuses = {}
            for mode in MODES:
                if mode is MODES[1] and not (operation.body or operation.query or operation.path_parameters):
                    continue  # nothing can be wrong
                hold(operation, mode, examples if name in PREDICTIONS else 5, session, statuses)
    return found


def hold(operation: Any, mode: Any, examples: int, session: Any, statuses: dict[int, int]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        accepts = [openapi_checks.positive_data_acceptance] if operation.path in TAKEN else []
        response = case.call_and_validate(session=session, checks=[*CHECKS, *accepts])
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

    run()


@pytest.mark.serving
@pytest.mark.parametrize("name", ["shop", "people"])
def test_every_operation_holds_its_document(name: str, shop_server: Running, people_server: Running) -> None:
    found = held({"shop": shop_server, "people": people_server}[name], 60)
    assert all(found.values()), found
    for operation in PREDICTIONS:
        assert found[operation].get(400, 0) > 20
    assert found["predictV1"].get(200, 0) > (20 if name == "people" else 0)


@pytest.mark.parametrize("name", ["shop", "people"])
def test_the_examples_are_rows_of_the_holdout_and_are_answered(
    name: str, shop_server: Running, people_server: Running
) -> None:
    server = {"shop": shop_server, "people": people_server}[name]
    document = server.get("/openapi.json").json()
    asked = {}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                answer = server.post(path, json=example["value"])
                assert answer.status_code == 200, answer.text
                asked[operation["operationId"]] = example["value"]
                schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
                whole = {**schema, "components": document["components"]}
                jsonschema.Draft202012Validator(whole).validate(answer.json())
    assert asked["predictV1"]["instances"] == holdout_rows(bundle(name))[:1]
    assert {"predictV1", "explainV1", "inferV2", "inferVersionV2"} == asked.keys()


def test_every_path_of_the_document_is_there_and_its_answer_is_as_described(shop_server: Running) -> None:
    document = shop_server.get("/openapi.json").json()
    seen = set()
    for path, operations in document["paths"].items():
        if "get" not in operations or "{" in path:
            continue
        answer = shop_server.get(path)
        assert answer.status_code == 200, path
        content = operations["get"]["responses"]["200"]["content"]
        if "application/json" not in content:
            continue
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
        seen.add(path)
    assert {"/v1/models", "/v2/health/ready", "/v2/models/shop"} <= seen
    assert json.loads(json.dumps(document)) == document
