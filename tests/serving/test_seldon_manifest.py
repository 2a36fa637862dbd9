"""The SeldonDeployment that we hand out fits the class that serves, and Seldon's own definition."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cd4ml.serving.seldon import BundleModel
from tests.adapters.s3_server import environment
from tests.kubernetes.standin.schemas import prune
from tests.kubernetes.standin.validation import validate
from tests.models.bundles import bundle

FOLDER = Path(__file__).parents[2] / "manifests" / "seldon"


def deployment() -> dict[str, Any]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))]
    documents = [document for text in texts for document in yaml.safe_load_all(text)]
    (found,) = [document for document in documents if document["kind"] == "SeldonDeployment"]
    return dict(found)


def predictors() -> list[dict[str, Any]]:
    return list(deployment()["spec"]["predictors"])


def schema() -> Mapping[str, Any]:
    folder = os.environ.get("CD4ML_TEST_CRDS", "")
    paths = list(Path(folder).rglob("*seldondeployments.yaml")) if folder else []
    if not paths:
        pytest.skip("no definition of SeldonDeployment: set CD4ML_TEST_CRDS to a folder that has it")
    (version,) = [v for v in yaml.safe_load(paths[0].read_text())["spec"]["versions"] if v["name"] == "v1"]
    found: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def test_one_predictor_answers_and_one_is_the_shadow() -> None:
    stable, shadow = predictors()
    assert (stable["name"], stable["traffic"], stable.get("shadow", False)) == ("stable", 100, False)
    assert (shadow["name"], shadow["traffic"], shadow["shadow"]) == ("shadow", 100, True)


@pytest.mark.parametrize("index", [0, 1])
def test_the_class_answers_as_what_the_predictor_names(index: int) -> None:
    predictor = predictors()[index]
    (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
    assert container["name"] == predictor["graph"]["name"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    parameters = {item["name"]: item["value"] for item in predictor["graph"].get("parameters", ())}
    assert variables.get("GUNICORN_THREADS", "1") == "1"  # Seldon loses counts with more
    settings = {**variables, "PREDICTOR_ID": predictor["name"], "CD4ML_VERIFY_KEY": None}
    with environment(**settings):
        tags = BundleModel(**{**parameters, "bundle": str(bundle("people"))}).tags()
    assert tags["variant"] == predictor["name"] == predictor["labels"]["endpoint"]
    assert tags["model"] == predictor["graph"]["name"]
    assert tags["version"] == predictor["annotations"]["cd4ml.io/version"]
    assert predictor["annotations"]["cd4ml.io/bundle"] in predictor["graph"]["modelUri"]


def test_it_holds_seldons_definition_without_unknown_fields() -> None:
    definition, document = schema(), deployment()
    body = {"spec": document["spec"]}
    assert prune(body, definition)[1] == []
    assert validate(document, definition, rules=True) == []
    misspelt = {"spec": {**document["spec"], "predictors": [{**predictors()[0], "shadows": True}]}}
    assert any("shadows" in path for path in prune(misspelt, definition)[1])
