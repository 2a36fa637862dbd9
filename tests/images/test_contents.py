"""The bill of materials and the sizes of packages, of the Python that runs the tests."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy
import pytest

from scripts.image_contents import INVENTORY, bill_of_materials, package_bytes

_IMAGE = {
    "repository": "ghcr.io/cd4ml/cd4ml-python",
    "tag": "0.1.0",
    "image_id": f"sha256:{'ab' * 32}",
    "commit": "0" * 40,
    "created": "2026-01-02T03:04:05Z",
}


@pytest.fixture(scope="module")
def inventory():
    done = subprocess.run(
        [sys.executable, "-I", "-c", INVENTORY], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    # A few are enough, and quicker.
    found["packages"] = sorted(found["packages"], key=lambda one: one["name"] != "numpy")[:12]
    return found


def test_an_inventory_has_every_package_with_its_bytes(inventory):
    sizes = package_bytes(inventory)
    assert sizes["numpy"] > 10e6
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    versions = {one["name"]: one["version"] for one in inventory["packages"]}
    assert versions["numpy"] == numpy.__version__


def test_a_bill_of_materials_keeps_to_the_schema_and_names_each_part(inventory):
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    debian = [{"package": "libc6", "version": "2.36-9", "architecture": "amd64"}]
    text = bill_of_materials(_IMAGE, {**inventory, "debian": debian})

    try:
        wrong = validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except Exception as error:  # the validator's own libraries are an extra of it
        if type(error).__name__ != "MissingOptionalDependencyException":
            raise
        wrong = None
    assert wrong is None
    bom = json.loads(text)
    purls = {one["purl"] for one in bom["components"]}
    assert f"pkg:pypi/numpy@{numpy.__version__}" in purls
    assert any(purl.startswith("pkg:deb/debian/libc6@2.36-9?arch=amd64") for purl in purls)
    assert len(purls) == len(inventory["packages"]) + 2
    subject = bom["metadata"]["component"]
    assert subject["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    (root,) = [one for one in bom["dependencies"] if one["ref"] == subject["bom-ref"]]
    assert len(root["dependsOn"]) == len(purls)


def test_the_same_image_has_the_same_bill_of_materials(inventory):
    pytest.importorskip("cyclonedx")
    turned = {**inventory, "packages": inventory["packages"][::-1]}
    assert bill_of_materials(_IMAGE, inventory) == bill_of_materials(_IMAGE, turned)
