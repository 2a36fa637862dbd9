"""Renders the manifests by the real tool: kubectl from 1.27 on, or kustomize from 5.0 on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = [
    "BUILDS",
    "ENVIRONMENTS",
    "MANIFESTS",
    "OVERLAYS",
    "PLACEHOLDER",
    "CannotRenderError",
    "crds",
    "name_of",
    "needs_kubectl",
    "of_kind",
    "placeholders",
    "render",
    "rendered",
    "source_documents",
]

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = tuple(f"overlays/{path.name}" for path in sorted((MANIFESTS / "overlays").iterdir()))
ENVIRONMENTS = tuple(f"environments/{name}" for name in ("dev", "staging", "production"))
BUILDS = (*OVERLAYS, "cluster-runtime", "routes/gateway-api-knative", "seldon")
"""All that is applied; `storage` apart, which needs credentials."""
PLACEHOLDER = "REPLACE_ME"
_LEAST = {"kubectl": (1, 27), "kustomize": (5, 0)}


class CannotRenderError(Exception):
    """The tool refused, with its words."""


@cache
def _tool() -> tuple[str, ...]:
    """Return the command that renders a folder; () where there is none that is new enough."""
    for name, question in (("kubectl", ["version", "--client", "-o", "json"]), ("kustomize", ["version"])):
        path = os.environ.get(f"CD4ML_{name.upper()}") or shutil.which(name)
        if not path:
            continue
        said = subprocess.run([path, *question], capture_output=True, text=True, check=False, timeout=30)
        text = said.stdout
        if name == "kubectl" and text.strip():
            text = json.loads(text)["clientVersion"]["gitVersion"]
        found = re.search(r"v?(\d+)\.(\d+)", text)
        if found and (int(found[1]), int(found[2])) >= _LEAST[name]:
            return (path, "kustomize" if name == "kubectl" else "build")
    return ()


needs_kubectl = pytest.mark.skipif(
    not _tool(), reason="no kubectl >= 1.27 and no kustomize >= 5.0 (CD4ML_KUBECTL, CD4ML_KUSTOMIZE, PATH)"
)


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization; raises CannotRenderError with the tool's words."""
    done = subprocess.run([*_tool(), str(folder)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise CannotRenderError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@cache
def rendered(build: str) -> list[dict[str, Any]]:
    """Return the objects of a folder of `manifests`; shared, do not change them."""
    return render(MANIFESTS / build)


@cache
def source_documents() -> dict[str, dict[str, Any]]:
    """Return the objects as they are written, before kustomize, by file and name."""
    found = {}
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            # What has no kind is no object, such as an environment's rollout.yaml.
            if document and document.get("kind", "Component") not in ("Kustomization", "Component"):
                found[f"{path.relative_to(MANIFESTS)}:{name_of(document)}"] = document
    return found


def crds() -> Path:
    """Return the folder of definitions; skips the test where CD4ML_TEST_CRDS does not name it."""
    folder = os.environ.get("CD4ML_TEST_CRDS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CD4ML_TEST_CRDS is not the folder of CustomResourceDefinitions")
    return Path(folder)


def name_of(document: dict[str, Any]) -> str:
    """Return kind and name, for messages and for names of tests."""
    return f"{document['kind']}/{document['metadata']['name']}"


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [document for document in documents if document["kind"] == kind]


def placeholders(documents: list[dict[str, Any]]) -> list[str]:
    """Return the objects in which a value was not filled in; Secrets are looked into."""
    import base64

    found = []
    for document in documents:
        text = json.dumps({key: value for key, value in document.items() if key != "data"})
        for value in (document.get("data") or {}).values():
            text += base64.b64decode(value).decode() if document["kind"] == "Secret" else str(value)
        if PLACEHOLDER in text:
            found.append(name_of(document))
    return found
