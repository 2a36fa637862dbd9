"""The locked requirements of the images: `python -m scripts.image_locks [--check]` renews or checks them.

Each lock has what some extras of setup.cfg need, in the versions of requirements/dev.txt that the tests run
with, and without what the image never imports. Renewing needs uv.
"""

from __future__ import annotations

import argparse
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cd4ml.errors import Cd4mlError, DataError, ServiceError, UsageError

__all__ = ["LOCKS", "ROOT", "Lock", "main", "needed", "problems", "read_lock", "renew"]

ROOT = Path(__file__).parent.parent
_PLATFORM = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}
_ENTRY = re.compile(
    r"^([\w.-]+)==([^\s;]+)(?: ?;([^\\\n]*))?((?:\s*\\\n\s+--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE
)


@dataclass(frozen=True)
class Lock:
    """What an image installs.

    Attributes
    ----------
    extras : tuple of str
        Of setup.cfg.
    without : dict
        Packages that these name or need and that the image lacks, with the reason. What only they need is
        left out too.
    """

    extras: tuple[str, ...]
    without: dict[str, str] = field(default_factory=dict)


LOCKS = {
    "components": Lock(
        ("train", "kfp"),
        {
            "google-api-core": "kfp's client asks Google's services with it; a task does not",
            "google-cloud-storage": "kfp's client uploads with it; a task writes to a folder",
            "kfp-kubernetes": "it is for compiling pipelines",
            "kfp-server-api": "it submits pipelines",
            "pandas": "tables are Polars frames and Arrow tables; nothing here imports pandas",
            "prettytable": "skops prints model cards with it; ours are our own",
            "requests-toolbelt": "kfp's client uploads with it",
            "tabulate": "kfp's command line prints with it",
        },
    ),
    "predictor": Lock(
        ("serve",),
        {
            "grpcio-tools": "it compiles protocol files; KServe ships them compiled",
            "pillow": "for pictures sent to language models",
        },
    ),
    "controller": Lock(("controller",)),
}
"""By kind of image. That of Seldon Core has requirements/seldon.in, for it cannot have cd4ml's own."""


def needed(extras: Iterable[str], without: Mapping[str, str] | None = None) -> dict[str, list[Requirement]]:
    """Return what the base and these extras need, by canonical name, with all that asks for it.

    Parameters
    ----------
    extras : iterable of str
    without : mapping, optional
        Names that are not followed.

    Raises
    ------
    UsageError
        If something needed is not installed here, for what it needs itself is then not known.
    """
    found: dict[str, list[Requirement]] = {}
    waiting = _ours(extras)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in (without or {}):
            continue
        found.setdefault(name, []).append(one)
        if (name, frozenset(one.extras)) in seen:
            continue
        seen.add((name, frozenset(one.extras)))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            raise UsageError(
                f"expected {name} to be installed, found it missing; run `make install`"
            ) from None
        waiting += [need for need in map(Requirement, lines) if _applies(need, one.extras)]
    return found


def read_lock(path: Path) -> dict[str, str]:
    """Return the version that each package of a lock has in an image.

    Raises
    ------
    DataError
        If an entry has no hash.
    """
    found: dict[str, str] = {}
    for name, version, marker, hashes in _ENTRY.findall(path.read_text(encoding="utf-8")):
        if marker.strip() and not Marker(marker.strip()).evaluate(dict(_PLATFORM)):
            continue
        if not hashes:
            raise DataError(f"{path.name}: expected hashes for {name}, found none; renew it")
        found[canonicalize_name(name)] = version
    return found


def problems(kind: str, path: Path | None = None) -> list[str]:
    """Return what is wrong with the lock of an image, one line each; it should be nothing."""
    lock = LOCKS[kind]
    has = read_lock(path or _path(kind))
    tested = read_lock(ROOT / "requirements/dev.txt")
    wants = needed(lock.extras, lock.without)
    found = [f"{kind}: {name} is missing" for name in sorted(wants.keys() - has.keys())]
    found += [f"{kind}: nothing needs {name}" for name in sorted(has.keys() - wants.keys())]
    for name, version in sorted(has.items()):
        if tested.get(name, version) != version:
            found.append(f"{kind}: {name} is {version}; the tests run with {tested[name]}")
        for one in wants.get(name, ()):
            if not one.specifier.contains(version, prereleases=True):
                found.append(f"{kind}: {name} is {version}; something needs {one}")
    unused = lock.without.keys() - needed(lock.extras).keys()
    return found + [f"{kind}: {name} is left out for nothing: no extra brings it" for name in sorted(unused)]


def renew(kind: str) -> None:
    """Write the lock of an image anew.

    Raises
    ------
    UsageError
        If uv is not installed.
    ServiceError
        If uv finds no versions that fit.
    """
    if shutil.which("uv") is None:
        raise UsageError("expected the command uv, found none; pip install uv")
    lock = LOCKS[kind]
    left_out = sorted(needed(lock.extras).keys() - needed(lock.extras, lock.without).keys())
    command = ["uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    command += [
        "--no-emit-index-url",
        "--python-version",
        "3.11",
        "--python-platform",
        "x86_64-manylinux_2_36",
    ]
    command += ["--constraint", "requirements/dev.txt"]
    command += [word for name in left_out for word in ("--no-emit-package", name)]
    command += [word for extra in lock.extras for word in ("--extra", extra)]
    command += ["setup.cfg", "--output-file", str(_path(kind).relative_to(ROOT))]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"uv cannot lock {kind}: {' '.join(done.stderr.split())[-300:]}")


def _path(kind: str) -> Path:
    return ROOT / f"requirements/{kind}.txt"


def _ours(extras: Iterable[str]) -> list[Requirement]:
    """Return the requirements of setup.cfg's base and of some extras."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [settings["options"]["install_requires"]]
    texts += [settings["options.extras_require"][extra] for extra in extras]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    return need.marker is None or any(
        need.marker.evaluate({**_PLATFORM, "extra": extra}) for extra in ("", *extras)
    )


def main(argv: list[str] | None = None) -> int:
    """Renew or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.image_locks", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(LOCKS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a lock is not right")
    options = parser.parse_args(argv)
    try:
        unknown = sorted(set(options.kinds) - LOCKS.keys())
        if unknown:
            raise UsageError(f"expected one of {', '.join(LOCKS)}; found '{unknown[0]}'")
        kinds = options.kinds or list(LOCKS)
        for kind in [] if options.check else kinds:
            renew(kind)
        wrong = [line for kind in kinds for line in problems(kind)]
    except Cd4mlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
