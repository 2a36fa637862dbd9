"""Engines that build and run containers, and the quirks of podman."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from cd4ml.domain.checkup import Answer, Use, fail, ok, skipped, warn
from cd4ml.errors import Cd4mlError
from cd4ml.steps.doctor.check import Check, Settings

__all__ = ["container_checks", "podman_quirks"]

_ENGINES = ("docker", "podman")
_BUILDERS = ("docker", "podman", "buildah")
_CONF = "CONTAINERS_CONF=images/podman/containers.conf"
_DEFAULT_NOFILE = 1_048_576
"""Open files that podman gives to a container unless it is told otherwise."""
_NEEDED: frozenset[Use] = frozenset(("containers",))


def container_checks(settings: Settings) -> list[Check]:
    """Return the checks of the area "containers"."""
    limit = settings.limit_seconds * 0.4
    return [
        Check("containers", "engine", partial(_engine, limit), uses=_NEEDED),
        Check("containers", "builder", partial(_builder, limit), uses=_NEEDED),
        Check("containers", "podman", partial(_podman, limit)),
        Check("containers", "socket", _socket, uses=_NEEDED),
    ]


def _engine(timeout_seconds: float) -> Answer:
    from cd4ml.adapters.programs import ask

    said = []
    for name in _ENGINES:
        if shutil.which(name) is None:
            continue
        try:
            told = ask([name, "info"], timeout_seconds / len(_ENGINES))
        except Cd4mlError as error:
            said.append(str(error))
            continue
        if told.code == 0:
            return ok(f"{name} answers")
        said.append(f"{name}: {told.last}")
    if not said:
        return fail("neither docker nor podman is in PATH", fix="apt-get install podman runc")
    return fail("; ".join(said), "docker or podman answers", f"try: {_CONF} podman info")


def _builder(timeout_seconds: float) -> Answer:
    from cd4ml.adapters.programs import ask, version_in

    found = [name for name in _BUILDERS if shutil.which(name)]
    if not found:
        return fail("none of docker, podman and buildah is in PATH", fix="apt-get install podman runc")
    versions = [f"{name} {version_in(ask([name, '--version'], timeout_seconds / 4).text)}" for name in found]
    return ok(", ".join(versions))


def _podman(timeout_seconds: float) -> Answer:
    from cd4ml.adapters.machine import may_raise_limits
    from cd4ml.adapters.programs import ask

    if shutil.which("podman") is None:
        return skipped("podman is not in PATH")
    said = ask(["podman", "info", "--format", "json"], timeout_seconds)
    try:
        host = json.loads(said.text[said.text.index("{") :])["host"]
    except (ValueError, KeyError, TypeError):
        return fail(f"podman does not tell of itself: {said.last}", fix=f"try: {_CONF} podman info")
    quirks = podman_quirks(
        host, _open_files(), may_raise_limits(), bool(os.environ.get("CONTAINERS_CONF")), _has_range()
    )
    runtime = (host.get("ociRuntime") or {}).get("name", "")
    rootless = (host.get("security") or {}).get("rootless", False)
    what = f"{'rootless' if rootless else 'root'}, {runtime}, control groups {host.get('cgroupVersion', '')}"
    if not quirks:
        return ok(what)
    fixes = [fix for _, fix in quirks]
    return warn(f"{what}; {'; '.join(why for why, _ in quirks)}", fix="; ".join(dict.fromkeys(fixes)))


def podman_quirks(
    host: dict[str, Any], open_files: int, may_raise: bool, configured: bool, has_range: bool
) -> list[tuple[str, str]]:
    """Return what keeps podman from starting containers on some machines: why, and what mends it.

    Parameters
    ----------
    host : dict
        `host` of `podman info --format json`.
    open_files : int
        The hard limit of open files of this process.
    may_raise : bool
        It may raise its limits.
    configured : bool
        CONTAINERS_CONF is set: then limits and runtime are taken as told.
    has_range : bool
        The user has subordinate ids; only rootless containers need them.
    """
    found = []
    runtime = (host.get("ociRuntime") or {}).get("name", "")
    if not configured and open_files < _DEFAULT_NOFILE and not may_raise:
        found.append((f"it asks for {_DEFAULT_NOFILE} open files, and {open_files} is the limit here", _CONF))
    if runtime == "crun" and host.get("cgroupVersion") == "v1":
        found.append(("crun fails where control groups are hybrid", f"apt-get install runc, and {_CONF}"))
    if (host.get("security") or {}).get("rootless") and not has_range:
        user = os.environ.get("USER", "USER")
        found.append(
            (
                "the user has no subordinate ids",
                f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
        )
    return found


def _socket() -> Answer:
    """Is there an engine for the docker runner of local pipelines?"""
    from cd4ml.adapters.kubeflow.containers import check_engine

    check_engine()
    return ok(f"an engine answers at {os.environ.get('DOCKER_HOST') or 'the default socket'}")


def _open_files() -> int:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _DEFAULT_NOFILE if hard == resource.RLIM_INFINITY else hard


def _has_range() -> bool:
    import getpass

    try:
        user = getpass.getuser()
        lines = Path("/etc/subuid").read_text(encoding="utf-8").splitlines()
    except (OSError, KeyError):
        return False
    return any(line.split(":")[0] in {user, str(os.getuid())} for line in lines)
