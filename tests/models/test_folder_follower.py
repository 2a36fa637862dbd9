"""A folder that follows an alias, for programs that are not in Python."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from cd4ml.adapters.manifest import verify_manifest, write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.errors import IntegrityError, ServiceError
from cd4ml.models.follow import FolderFollower, ModelFollower
from tests.models.follow_samples import damage, registry_with, until, variant


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def registry(store: Path) -> Registry:
    return registry_with(store, variant(15), variant(5))


def test_a_folder_for_other_programs_moves_its_link_in_one_step(registry: Registry, store: Path) -> None:
    out = store.parent / "out"
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add((out / "current" / "manifest.json").read_bytes()[:1])

    with FolderFollower("shop@champion", out, store=str(store), poll_seconds=0.02) as kept:
        reader = threading.Thread(target=read)
        reader.start()
        for number in (2, 1, 2):
            registry.set_alias("shop", "champion", number)
            wanted = registry.get("shop", number).bundle
            until(lambda wanted=wanted: (out / "current").readlink().name == wanted)
        stop.set()
        reader.join(5)
        kept.check()
    assert seen == {b"{"}, "there always was a whole bundle"
    damage(registry, 1)
    shutil.rmtree(out / "bundles" / registry.get("shop", 1).bundle)
    registry.set_alias("shop", "champion", 1)
    with FolderFollower("shop@champion", out, store=str(store), poll_seconds=0.02) as kept:
        with pytest.raises(IntegrityError, match=r"model\.onnx"):
            kept.check()
        assert (out / "current").readlink().name == registry.get("shop", 2).bundle
        assert kept.status().version == kept.current.version == 2


def test_a_folder_for_other_programs_is_verified_again_at_each_start(registry: Registry, store: Path) -> None:
    out, problems = store.parent / "out", list[str]()
    with FolderFollower("shop@champion", out, store=str(store)):
        pass
    path = out / "current/model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with FolderFollower("shop@champion", out, store=str(store), on_problem=problems.append) as kept:
        assert kept.current.version == 1
        assert verify_manifest(out / "current"), "fetched anew"
    assert "on disk is not used" in problems[0]
    assert "model.onnx" in problems[0]


def test_a_bundle_without_a_contract_is_no_model_to_follow(store: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model.onnx").write_text("no model")
    write_manifest(bare, format="1", problem="shop")
    registry_with(store, bare)
    with pytest.raises(IntegrityError, match="cannot be read"):
        FolderFollower("shop@champion", tmp_path / "out", store=str(store)).__enter__()
    with pytest.raises((IntegrityError, ServiceError)):
        ModelFollower("shop@champion", store=str(store), folder=tmp_path / "kept").__enter__()
