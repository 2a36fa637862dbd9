"""Every command of the README works, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubeflow.server import api_server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language; "" for those that name none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for found, text in fenced if found == language]


def _commands() -> list[list[str]]:
    """Return the words of each command of the tour."""
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(".venv/bin/cd4ml")]


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CD4ML_STORE"}
    return subprocess.run(
        [sys.executable, "-m", "cd4ml.cli", *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.loop
@pytest.mark.timeout(900)
def test_the_tour_can_be_walked_from_its_first_command_to_its_last(tmp_path):
    commands = _commands()
    assert len(commands) > 15
    try:
        for words in commands:
            done = _run(words, tmp_path)
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    finally:
        _run(["cd4ml", "serve", "stop"], tmp_path)
    for promised in ("report.html", "verdict.json", "metrics.json", "bias.json", "profile.html", "bundle"):
        assert (tmp_path / "out" / promised).exists()


def test_a_run_is_submitted_as_the_readme_says(tmp_path):
    (line,) = [block for block in _blocks("") if "pipelines submit" in block]
    words = shlex.split(line)
    with api_server() as server:
        words[words.index("--host") + 1] = server.url
        done = _run(words, tmp_path)
        assert done.returncode == 0, done.stderr
        asked = [path for method, path, *_ in server.asked if method == "POST"]
    assert any(path.endswith("/runs") for path in asked)


def test_the_make_targets_of_the_readme_exist_and_ci_runs_them():
    targets = re.findall(r"^make ([a-z-]+)", "\n".join(_blocks("sh")), re.MULTILINE)
    assert targets == ["run", "test"]
    makefile = (ROOT / "Makefile").read_text()
    script = (ROOT / ".ci/run").read_text()
    for target in targets:
        assert re.search(rf"^{target}: install ", makefile, re.MULTILINE)
        assert re.search(rf"make {target}$", script, re.MULTILINE)


def test_links_of_the_documents_lead_somewhere():
    broken = []
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "components").rglob("*.md")]
    for page in sorted(pages):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
