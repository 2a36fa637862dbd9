"""A pipeline and its versions on a Kubeflow Pipelines server: one commit is one version, for ever."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.adapters.differences import flatten
from cd4ml.adapters.git import Git
from cd4ml.adapters.kubeflow.compiled import documents
from cd4ml.adapters.kubeflow.remote_client import Server, equals
from cd4ml.errors import Cd4mlError, ServiceError, UsageError

__all__ = ["Version", "digest", "find_pipeline", "publish", "version_name"]

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SHOWN = 3


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on a server, and whether it was made just now."""

    pipeline_id: str
    version_id: str
    pipeline: str
    name: str
    created: bool


def digest(package: Path) -> str:
    """Return the SHA-256 of what a compiled pipeline says; comments and the order of keys do not count."""
    text = json.dumps(documents(package), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def version_name(package: Path, git: Git, allow_dirty: bool = False) -> str:
    """Return the name of the version that a compiled pipeline has at a commit.

    It is the commit; with uncommitted changes the commit and what the pipeline says; without a commit only
    the latter. So the same name always has the same content.

    Raises
    ------
    UsageError
        When tracked files differ from the commit and that is not allowed.
    """
    content = digest(package)[:12]
    if not git.commit:
        return f"content-{content}"
    if git.dirty and not allow_dirty:
        raise UsageError(
            f"expected the files of commit {git.commit[:12]}, found changes that are not committed: a "
            "version is named by its commit; commit them, or allow them with --allow-dirty"
        )
    return f"{git.commit}-dirty-{content}" if git.dirty else git.commit


def publish(server: Server, package: Path, name: str, text: str = "") -> Version:
    """Upload a version of a pipeline, unless the server has it.

    Parameters
    ----------
    package : Path
        The compiled YAML. The pipeline is made when the server has none of its name.
    name : str
        Of the version, see `version_name`.
    text : str
        What the dashboard says about the version, beside its hash.

    Raises
    ------
    UsageError
        When the server has other content under that name, or refuses this one.
    ServiceError
        When the server cannot be reached, refuses the caller or fails.
    """
    pipeline = str(documents(package)[0]["pipelineInfo"]["name"])
    pipeline_id = _made(server, pipeline)
    found = _find(server, pipeline_id, name)
    created = found is None
    if found is None:
        found = _upload(server, pipeline_id, package, name, text)
    _hold(found, package, pipeline)
    return Version(pipeline_id, found.pipeline_version_id, pipeline, name, created)


def find_pipeline(server: Server, name: str) -> str:
    """Return the id of the pipeline of that name; "" when there is none."""
    call = server.client.pipelines.pipeline_service_list_pipelines
    listed = server.pages(call, "pipelines", namespace=server.namespace, filter=equals(display_name=name))
    return next((str(one.pipeline_id) for one in listed if one.display_name == name), "")


def _made(server: Server, name: str) -> str:
    """Return the id of a pipeline, made when there is none: without a version, which would have no commit."""
    import kfp_server_api

    found = find_pipeline(server, name)
    if found:
        return found
    body = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=server.namespace or None)
    try:
        made = server.ask(server.client.pipelines.pipeline_service_create_pipeline, pipeline=body)
    except (UsageError, ServiceError) as error:
        return str(_or_raise(find_pipeline(server, name), error))
    return str(made.pipeline_id)


def _find(server: Server, pipeline_id: str, name: str) -> Any:
    call = server.client.pipelines.pipeline_service_list_pipeline_versions
    listed = server.pages(
        call, "pipeline_versions", pipeline_id=pipeline_id, filter=equals(display_name=name)
    )
    return next((one for one in listed if one.display_name == name), None)


def _upload(server: Server, pipeline_id: str, package: Path, name: str, text: str) -> Any:
    """Upload; when that fails, somebody else may have been first, or only the answer was lost."""
    with tempfile.TemporaryDirectory() as folder:
        # The server takes the kind of a file from its name.
        file = Path(folder) / "pipeline.yaml"
        file.write_bytes(package.read_bytes())
        try:
            return server.ask(
                server.client.pipeline_uploads.upload_pipeline_version,
                str(file),
                name=name,
                pipelineid=pipeline_id,
                description=f"{text}; sha256:{digest(package)}".removeprefix("; "),
            )
        except (UsageError, ServiceError) as error:
            return _or_raise(_find(server, pipeline_id, name), error)


def _or_raise(found: Any, error: Cd4mlError) -> Any:
    if not found:
        raise error
    return found


def _hold(version: Any, package: Path, pipeline: str) -> None:
    """Refuse a version that the server has with other content."""
    told, ours = _DIGEST.search(version.description or ""), digest(package)
    theirs = _said(version.pipeline_spec or {})
    mine = _spec(documents(package))
    if (told and told[1] == ours) or (not told and theirs == mine):
        return
    before, now = flatten(theirs), flatten(mine)
    keys = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    shown = [f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}" for key in keys[:_SHOWN]]
    more = f"; and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    hashes = f"sha256 {told[1][:12] if told else 'unknown'} there, {ours[:12]} here"
    raise UsageError(
        f"version {version.display_name} of pipeline {pipeline} is on the server with other content "
        f"({hashes}): {'; '.join(shown) or 'only the written form differs'}{more}. The same commit must "
        "compile to the same pipeline: compile with the same image and settings, or commit"
    )


def _said(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a server tells of a version in the form of `_spec`: it leaves an empty platform out."""
    if "pipeline_spec" in spec:
        return {**spec["pipeline_spec"], "platforms": spec.get("platform_spec", {}).get("platforms", {})}
    return {**spec, "platforms": {}}


def _spec(found: list[dict[str, Any]]) -> dict[str, Any]:
    platforms: dict[str, Any] = {}
    for one in found[1:]:
        platforms |= one.get("platforms", {})
    return {**found[0], "platforms": platforms}


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True) if value is not None else "absent"
    return text if len(text) <= 60 else f"{text[:59]}…"
