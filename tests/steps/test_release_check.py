"""A champion is released again from the store alone; one that does not serve what was judged is found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.signing import VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.errors import NotFoundError
from cd4ml.steps.release_check import STAGES, ReleaseCheck, check_release, release_exit_code, releases
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A store with a champion, and nothing else that it was made from."""
    folder = tmp_path / "made"
    copy("people", folder)
    registered(tmp_path / "store", folder)
    shutil.rmtree(folder)
    with environment(CD4ML_STORE=str(tmp_path / "store")):
        yield tmp_path / "store"


def registered(store: Path, folder: Path, name: str = "people", verdict: str = "accept") -> Registry:
    registry = Registry(open_store(str(store)))
    version = registry.push(folder, name, verdict=verdict)
    registry.set_alias(name, "champion", version.version)
    return registry


def left_over() -> set[str]:
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    return {path.name for path in folder.glob("cd4ml-release-*")}


def test_every_champion_is_checked_when_none_is_named(store: Path) -> None:
    registry = registered(store, bundle("shop"), "shop")
    registry.set_alias("shop", "challenger", 1)
    registry.push(bundle("shop"), "unused", verdict="accept")
    assert releases(registry) == [("people", "champion"), ("shop", "champion")]
    assert releases(registry, every=True) == [
        ("people", "champion"), ("shop", "challenger"), ("shop", "champion"),
    ]  # fmt: skip
    assert releases(registry, [("shop", "1")]) == [("shop", "1")]
    with pytest.raises(NotFoundError, match="did you mean 'people'"):
        releases(registry, [("peple", "champion")])


def test_a_store_without_a_champion_says_so(tmp_path: Path, capsys: Any) -> None:
    with environment(CD4ML_STORE=str(tmp_path / "empty")):
        assert main(["models", "release-check"]) == 2
    assert "nothing to release" in capsys.readouterr().err


def test_a_byte_that_was_changed_in_the_store_ends_it_at_the_fetch(store: Path, capsys: Any) -> None:
    model = next(store.rglob("model.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    before = left_over()
    assert main(["models", "release-check", "--json"]) == 3
    shown = capsys.readouterr()
    (found,) = json.loads(shown.out)["checks"]
    assert (found["failed"], found["passed"], found["exit_code"]) == ("fetch", False, 3)
    assert "model.onnx" in found["reason"]
    assert "people@champion" in shown.err.splitlines()[-1]
    assert main(["models", "release-check", "people"]) == 3
    assert "FAILED: fetch" in capsys.readouterr().out
    assert left_over() == before


def test_a_bundle_that_is_gone_or_by_nobody_of_ours_is_not_released(store: Path) -> None:
    with environment(**{VERIFY_KEY: generate_keypair()[1]}):
        assert check_release("people").failed == "fetch"
    for manifest in store.rglob("manifest.json"):
        manifest.unlink()
    found = check_release("people")
    assert (found.failed, found.exit_code) == ("fetch", 3)
    assert "no whole bundle" in found.reason


def test_a_version_that_nobody_let_through_is_not_released(tmp_path: Path) -> None:
    registered(tmp_path, bundle("people"), verdict="needs_approval")
    found = check_release("people", store=str(tmp_path))
    assert (found.failed, found.exit_code) == ("fetch", 3)
    assert "needs_approval" in found.reason


def test_a_store_out_of_reach_is_no_fault_of_the_model() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with environment(CD4ML_S3_ENDPOINT="http://127.0.0.1:9", **keys):
        found = check_release("people", store="s3://models")
    assert (found.failed, found.exit_code) == ("fetch", 6)
    assert release_exit_code([found]) == 6
    assert release_exit_code([found, ReleaseCheck("shop", "champion", exit_code=3)]) == 3
    assert release_exit_code([]) == 0


def test_without_envoy_nothing_is_begun(store: Path, tmp_path: Path) -> None:
    with environment(CD4ML_ENVOY=str(tmp_path / "none")):
        assert main(["models", "release-check"]) == 2


def test_a_name_and_all_contradict_each_other(store: Path, capsys: Any) -> None:
    assert main(["models", "release-check", "people", "--all"]) == 2
    assert main(["models", "release-check", "people@"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.serving
def test_a_champion_is_served_from_the_store_alone_and_taken_down(store: Path, capsys: Any) -> None:
    before = left_over()
    assert main(["models", "release-check", "people", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["checks"]
    assert found["passed"] and found["version"] == "1" and found["rows"] == 100
    assert list(found["seconds"]) == sorted(STAGES)
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert "as they were judged" in found["sentence"]
    assert left_over() == before
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in running if b"cd4ml-release-" in line], "something was left running"


@pytest.mark.serving
def test_champions_that_do_not_serve_what_was_judged_are_found(tmp_path: Path, capsys: Any) -> None:
    differs, broken = copy("people", tmp_path / "differs"), copy("people", tmp_path / "broken")
    path = differs / "holdout" / "prediction.npy"
    judged = np.load(path)
    judged[3] += 0.01
    np.save(path, judged)
    extra = json.loads((differs / "manifest.json").read_bytes())
    write_manifest(differs, format=extra["format"], problem=extra["problem"])
    write_manifest(broken)  # of no format that a server knows
    registered(tmp_path / "store", differs, "differs")
    registered(tmp_path / "store", broken, "refuses")
    before = left_over()
    with environment(CD4ML_STORE=str(tmp_path / "store")):
        assert main(["models", "release-check", "--json"]) == 3
    shown = capsys.readouterr()
    found = {one["model"]: one for one in json.loads(shown.out)["checks"]}
    assert {name: (one["failed"], one["exit_code"]) for name, one in found.items()} == {
        "differs": ("verify", 3),
        "refuses": ("start", 3),
    }
    assert "First row 3, asked alone" in found["differs"]["reason"]
    assert found["refuses"]["reason"].startswith("it does not start: ")
    assert "2 of 2 cannot be released again: differs@champion, refuses@champion" in shown.err
    assert left_over() == before
