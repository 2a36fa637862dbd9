"""What is in an image: its packages with their sizes, and the bill of materials (CycloneDX 1.6, JSON)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from cd4ml.errors import UsageError

__all__ = ["INVENTORY", "bill_of_materials", "package_bytes"]

INVENTORY = r"""
import json, os, platform, re, sys
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

def size(one):
    paths = {str(one.locate_file(file)) for file in one.files or ()}
    paths |= {cache_from_source(path) for path in paths if path.endswith(".py")}
    return sum(os.stat(path).st_size for path in paths if os.path.isfile(path))

def licence(one):
    said = one.metadata.get("License-Expression") or one.metadata.get("License") or ""
    kinds = [c.split(" :: ")[-1] for c in one.metadata.get_all("Classifier") or () if "License ::" in c]
    return said if 0 < len(said) < 80 and "\n" not in said else "; ".join(kinds)

python = [
    {"name": one.name, "version": one.version, "bytes": size(one), "license": licence(one)}
    for one in metadata.distributions()
]
status = Path("/var/lib/dpkg/status")
debian = []
for text in status.read_text(encoding="utf-8").split("\n\n") if status.is_file() else ():
    fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", text, re.M))
    if fields.get("Status", "").endswith(" installed"):
        debian.append({name.lower(): value for name, value in fields.items() if name != "Status"})
release = platform.freedesktop_os_release() if os.path.exists("/etc/os-release") else {}
print(json.dumps({"python": platform.python_version(), "packages": python, "debian": debian,
                  "system": {"id": release.get("ID", ""), "version": release.get("VERSION_ID", "")}}))
"""
"""A program that prints what an image has, as JSON; it needs nothing but Python."""


def package_bytes(inventory: Mapping[str, Any]) -> dict[str, int]:
    """Return the bytes of each Python package with its bytecode, the largest first."""
    sizes = {one["name"].lower(): int(one["bytes"]) for one in inventory["packages"]}
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def bill_of_materials(image: Mapping[str, Any], inventory: Mapping[str, Any]) -> str:
    """Return the bill of materials of an image; the same image gives the same bytes.

    Parameters
    ----------
    image : mapping
        `repository`, `tag`, `image_id`, `commit`, `created` (RFC 3339).
    inventory : mapping
        What `INVENTORY` printed.

    Raises
    ------
    UsageError
        If the CycloneDX library is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError:
        raise UsageError(
            "expected the Python package cyclonedx-python-lib, found none; run `make install`"
        ) from None
    from datetime import datetime

    subject = _image(image)
    parts = [*_python_parts(inventory), *_debian_parts(inventory)]
    bom = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, image["image_id"]))
    bom.metadata.timestamp = datetime.fromisoformat(image["created"])
    bom.metadata.component = subject
    bom.register_dependency(subject, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _image(image: Mapping[str, Any]) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.CONTAINER,
        name=image["repository"],
        version=image["tag"],
        bom_ref=image["image_id"],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image["image_id"].removeprefix("sha256:"))],
        properties=[Property(name="cd4ml:commit", value=image["commit"])],
        purl=PackageURL(
            "oci",
            name=image["repository"].rsplit("/", 1)[-1],
            qualifiers={"repository_url": image["repository"], "tag": image["tag"]},
        ),
    )


def _python_parts(inventory: Mapping[str, Any]) -> list[Any]:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    found = [
        Component(
            type=ComponentType.APPLICATION,
            name="python",
            version=inventory["python"],
            bom_ref=f"pkg:generic/python@{inventory['python']}",
            purl=PackageURL("generic", name="python", version=inventory["python"]),
        )
    ]
    for one in sorted(inventory["packages"], key=lambda one: str(one["name"]).lower()):
        name = re.sub(r"[-_.]+", "-", one["name"]).lower()
        purl = PackageURL("pypi", name=name, version=one["version"])
        found.append(
            Component(
                type=ComponentType.LIBRARY,
                name=name,
                version=one["version"],
                bom_ref=purl.to_string(),
                purl=purl,
                licenses=[DisjunctiveLicense(name=one["license"])] if one["license"] else [],
            )
        )
    return found


def _debian_parts(inventory: Mapping[str, Any]) -> list[Any]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    system = inventory["system"]
    found = []
    for one in sorted(inventory["debian"], key=lambda one: str(one["package"])):
        qualifiers = {"arch": one["architecture"], "distro": f"{system['id']}-{system['version']}"}
        purl = PackageURL("deb", "debian", one["package"], one["version"], qualifiers)
        found.append(
            Component(
                type=ComponentType.LIBRARY,
                name=one["package"],
                version=one["version"],
                bom_ref=purl.to_string(),
                purl=purl,
            )
        )
    return found
