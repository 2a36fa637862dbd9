"""The command that builds images says in one line what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cd4ml.errors import NotFoundError, ServiceError, UsageError
from scripts.image_engine import find_engine
from scripts.images import ROOT, build, main


def test_an_unknown_kind_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(NotFoundError, match="did you mean 'predictor'"):
        build(["predicter"], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["dockr", "podman-remote --x", "  "])
def test_an_unknown_engine_is_refused(engine):
    with pytest.raises(UsageError, match="expected one of docker, podman, buildah as the engine"):
        find_engine(engine)


def test_an_engine_may_have_options_and_must_be_there(tmp_path):
    with pytest.raises(ServiceError, match="expected podman to work; podman is not installed"):
        find_engine(f"{tmp_path}/podman --root {tmp_path}")


def test_an_engine_that_does_not_answer_is_named_with_its_words(tmp_path):
    broken = tmp_path / "docker"
    broken.write_text("#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ServiceError, match="docker says: Cannot connect to the daemon"):
        find_engine(str(broken))


def test_a_machine_without_an_engine_hears_what_to_install(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.images", "build", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ServiceError.exit_code
    assert done.stderr == (
        "error: expected docker, podman or buildah; docker is not installed; podman is not installed; "
        "buildah is not installed; install one of them\n"
    )
    assert not (tmp_path / "out").exists()


def test_wrong_words_are_wrong_use(tmp_path, capsys):
    with pytest.raises(UsageError, match="--pull missing or never; found 'always'"):
        build(["seldon"], pull="always", out=tmp_path)
    assert main(["build", "nothing", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: expected one of components, predictor")
