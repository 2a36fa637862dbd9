"""A compiled file says what it takes and where it runs; arguments are held against it first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.kubeflow import names, package
from cd4ml.adapters.kubeflow.compiled import (
    arguments_from_text,
    check_arguments,
    documents,
    images,
    parameters,
    pinned,
    require_kfp,
    with_image,
)
from cd4ml.errors import NotFoundError, SourceError, UsageError

ROOT = Path(__file__).parents[2]
KINDS = {
    "text": "STRING",
    "count": "NUMBER_INTEGER",
    "part": "NUMBER_DOUBLE",
    "flag": "BOOLEAN",
    "list": "LIST",
    "map": "STRUCT",
}


def pipeline(optional=True):
    known = {name: {"parameterType": kind, "isOptional": optional} for name, kind in KINDS.items()}
    return {"root": {"inputDefinitions": {"parameters": known}}}


def test_the_installed_pipelines_are_found_by_name():
    assert names() == sorted(file.stem for file in (ROOT / "src/cd4ml/compiled").glob("*.yaml"))
    assert "training" in names()
    assert package("training").samefile(ROOT / "src/cd4ml/compiled/training.yaml")


def test_a_name_that_no_pipeline_has_is_answered_with_the_nearest():
    with pytest.raises(NotFoundError, match="found 'trainin'; did you mean 'training'"):
        package("trainin")


@pytest.mark.parametrize("content", [b"", b"a: [", b"name: something else", b"- a list", b"\xff\xfe\x00"])
def test_a_file_that_is_no_compiled_pipeline_is_refused(content, tmp_path):
    (tmp_path / "p.yaml").write_bytes(content)
    with pytest.raises(SourceError, match="expected a compiled pipeline at") as caught:
        documents(tmp_path / "p.yaml")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(SourceError, match="found: No such file or directory"):
        documents(tmp_path / "p.yaml")


def test_a_pipeline_without_parameters_has_none():
    assert parameters({"root": {}}) == {}


def test_typed_text_becomes_what_the_parameters_are():
    texts = {"text": "3", "count": "3", "part": "0.5", "flag": "true", "list": '["a"]', "map": '{"a": 1}'}
    assert arguments_from_text(pipeline(), texts) == {
        "text": "3",
        "count": 3,
        "part": 0.5,
        "flag": True,
        "list": ["a"],
        "map": {"a": 1},
    }


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("count", "3.5", "an integer"),
        ("count", "true", "an integer"),
        ("part", "half", "a number"),
        ("flag", "1", "true or false"),
        ("list", "a,b", "a list"),
        ("map", "[]", "a mapping"),
    ],
)
def test_typed_text_that_does_not_fit_is_refused_with_what_fits(name, text, word):
    with pytest.raises(UsageError, match=f"parameter '{name}' must be {word}; got "):
        arguments_from_text(pipeline(), {name: text})


def test_unknown_missing_and_mistyped_arguments_are_refused():
    with pytest.raises(UsageError, match="found 'textt'; did you mean 'text'"):
        check_arguments(pipeline(), {"textt": "a"})
    with pytest.raises(UsageError, match="needs a value for its parameter 'text'"):
        check_arguments(pipeline(optional=False), {})
    with pytest.raises(UsageError, match="parameter 'text' must be text; got 3"):
        check_arguments(pipeline(), {"text": 3})


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
def test_text_is_passed_as_it_was_typed(text):
    assert arguments_from_text(pipeline(), {"text": text}) == {"text": text}


@pytest.mark.parametrize(
    "image",
    [
        "cd4ml-python:1",
        "registry.example.org:5000/team/cd4ml-python:0.1.0",
        "ghcr.io/x/y@sha256:" + "0" * 64,
        "x:1.2@sha256:" + "a" * 64,
    ],
)
def test_an_image_with_a_version_or_a_digest_is_pinned(image):
    assert pinned(image) == image


@pytest.mark.parametrize(
    "image",
    ["", "x", "x:latest", "registry.example.org:5000/x", "x:1 y", "x:1\nimage: y:2", "X:1", "x@sha256:12"],
)
def test_an_image_that_may_change_under_its_name_is_refused(image):
    with pytest.raises(UsageError, match="pinned by a version or a digest"):
        pinned(image)


@pytest.mark.parametrize("image", ["registry.example.org:5000/x-python:9", "x-python@sha256:" + "c" * 64])
def test_replacing_the_image_gives_the_bytes_that_compiling_with_it_gives(image, tmp_path):
    command = [sys.executable, "-m", "pipelines", "--image", image, "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "CD4ML_IMAGE": ""})
    assert with_image(package("training"), image) == (tmp_path / "training.yaml").read_text()
    assert images(documents(tmp_path / "training.yaml")[0]) == [image]


def test_a_library_that_is_not_installed_is_named_with_what_installs_it():
    require_kfp()
    with pytest.raises(UsageError, match=r"'kfp_of_tomorrow', found none; pip install 'cd4ml\[kfp\]'"):
        require_kfp("kfp_of_tomorrow")
