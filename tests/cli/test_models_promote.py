"""`cd4ml models promote` and `environment` on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment
from tests.steps.promotions import NAME, NO_KEYS, lines, pushed


@pytest.fixture(autouse=True)
def staging(tmp_path: Path) -> Iterator[FolderStorage]:
    storage = FolderStorage(tmp_path / "staging")
    with environment(CD4ML_STORE=str(storage.root), CD4ML_ACTOR="ann", **NO_KEYS):
        yield storage


@pytest.fixture
def production(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "production")


@pytest.mark.parametrize("model", [NAME, f"{NAME}@1", f"{NAME}:1", f"{NAME}@champion", f"{NAME}:champion"])
def test_a_version_is_promoted_by_number_or_alias(
    model: str,
    tmp_path: Path,
    staging: FolderStorage,
    production: FolderStorage,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pushed(staging, tmp_path)
    Registry(staging).set_alias(NAME, "champion", 1)
    assert main(["models", "promote", model, "--to", str(production.root), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["state"], done["version"], done["to_version"], done["alias"]) == (
        "promoted",
        1,
        1,
        "challenger",
    )
    assert Registry(production).history(NAME)[0].by == "ann"


def test_dry_run_twice_and_conflict_end_with_their_codes(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("first", "second"):
        pushed(staging, tmp_path, model)
    to = ["--to", str(production.root)]
    assert main(["models", "promote", f"{NAME}@1", *to, "--dry-run"]) == 0
    assert "planned" in capsys.readouterr().out
    assert not production.root.exists()
    assert main(["models", "promote", f"{NAME}@1", *to, "--expected", "0"]) == 0
    assert main(["models", "promote", f"{NAME}@2", *to, "--expected", "0"]) == 6
    assert main(["models", "promote", f"{NAME}@2", *to]) == 0
    assert main(["models", "promote", f"{NAME}@1", *to]) == 2
    error = capsys.readouterr().err
    assert "--allow-downgrade" in error and "Traceback" not in error
    assert main(["models", "promote", str(tmp_path), *to]) == 2


def test_an_environment_demands_an_approval_and_says_so(
    tmp_path: Path, staging: FolderStorage, production: FolderStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(staging, tmp_path)
    with environment(CD4ML_STORE=str(production.root)):
        assert main(["models", "environment", "--name", "production", "--approval", "here"]) == 0
        assert main(["models", "environment", "--approval", "here"]) == 0
        assert main(["models", "environment", "--approval", "perhaps"]) == 2
        capsys.readouterr()
        assert main(["models", "environment", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"approval": "here", "name": "production", "signed": False}
    assert len(lines(production, "environment")) == 1
    command = ["models", "promote", NAME, "--to", str(production.root)]
    assert main(command) == 3
    with environment(CD4ML_STORE=str(production.root)):
        assert main(["models", "approve", f"{NAME}@1", "--reason", "looked at it"]) == 0
    assert main(command) == 0
    assert Registry(production).aliases(NAME) == {"challenger": 1}
