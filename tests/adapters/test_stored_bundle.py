"""One document of a bundle in the store: verified on the way from the bundle's id."""

import json

import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.stored_bundle import stored_document
from cd4ml.errors import IntegrityError, NotFoundError
from tests.adapters.samples import make_bundle


@pytest.fixture
def bundle(storage, tmp_path):
    return Registry(storage).push(make_bundle(tmp_path / "bundle"), "shop").bundle


def test_a_document_is_what_was_pushed(storage, bundle):
    assert stored_document(storage, bundle, "lineage.json")["seeds"] == [7]


def test_a_bundle_or_a_document_that_is_not_there_is_told(storage, bundle):
    with pytest.raises(NotFoundError):
        stored_document(storage, "f" * 64, "lineage.json")
    with pytest.raises(IntegrityError, match=r"has no 'contract.json'"):
        stored_document(storage, bundle, "contract.json")
    storage.delete(f"bundles/{bundle}/lineage.json")
    with pytest.raises(NotFoundError):
        stored_document(storage, bundle, "lineage.json")


def test_an_altered_document_and_an_altered_manifest_are_refused(storage, bundle):
    key = f"bundles/{bundle}/lineage.json"
    storage.put(key, json.dumps({"seeds": [8]}).encode())
    with pytest.raises(IntegrityError, match=r"lineage.json' is not what its manifest promises"):
        stored_document(storage, bundle, "lineage.json")
    storage.put(f"bundles/{bundle}/manifest.json", b"{}")
    with pytest.raises(IntegrityError, match="is not the manifest of bundle"):
        stored_document(storage, bundle, "lineage.json")
