"""A shelf that two processes share."""

from pathlib import Path

import pytest

from cd4ml.adapters.bundle_shelf import BundleShelf, Kept
from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.storage import FolderStorage
from tests.models.follow_samples import variant

Shelf = tuple[BundleShelf, Registry, list[ModelVersion]]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    registry = Registry(FolderStorage(tmp_path / "store"))
    versions = [registry.push(variant(trees), "shop", "accept") for trees in (15, 20, 25)]
    return BundleShelf(tmp_path / "kept", "shop@champion", keep=2), registry, versions


def used(shelf: Shelf, number: int) -> Kept:
    """Fetch a version and record it as in use."""
    version = shelf[2][number]
    shelf[0].fetch(shelf[1], version)
    kept = Kept(version.version, version.bundle)
    shelf[0].write([kept])
    return kept


def test_what_another_has_fetched_and_not_yet_recorded_stays(shelf: Shelf) -> None:
    mine, registry, versions = shelf
    other = BundleShelf(mine.folder, "shop@champion", keep=2)
    other.fetch(registry, versions[2])
    used(shelf, 0)
    used(shelf, 1)
    waiting = Kept(versions[2].version, versions[2].bundle)
    other.write([waiting])
    assert other.verified(waiting) == other.path(waiting.bundle)


def test_beyond_what_is_kept_bundles_go(shelf: Shelf) -> None:
    kept = [used(shelf, number) for number in (0, 1, 2)]
    assert not shelf[0].path(kept[0].bundle).exists()
    assert shelf[0].verified(kept[1]) and shelf[0].verified(kept[2])
