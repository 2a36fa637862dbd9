"""Fill /opt/cd4ml in the first stage of an image, with the base image's own Python and pip.

    install.py dependencies LOCK            a virtual environment with what the lock names, by its hashes
    install.py package LOCK --import MODULE cd4ml itself; then all that is not needed goes away

A build may have the secrets `pip-config` and `ca-bundle` (pip.conf, certificates of a proxy), for pip alone:
no layer keeps them.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

__all__ = ["dependencies", "locked_names", "main", "package", "prune", "true_records"]

BUILD = Path("/build")
TARGET = Path("/opt/cd4ml")
PYTHON = TARGET / "bin/python"
SECRETS = Path("/run/secrets")
APART = BUILD / "package"
"""cd4ml itself, for a layer of its own: the large one below it stays as it is while the lock does."""
OLDEST = 315532800
"""1980-01-01, the first second that a ZIP file can hold: when any file of a layer was made is not told."""


def main(argv: list[str]) -> int:
    """Do one of the two steps; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("dependencies", "package"))
    parser.add_argument("lock", type=Path)
    parser.add_argument("--import", dest="modules", nargs="*", default=[], help="what must work in the end")
    parser.add_argument("--keep", nargs="*", default=[], help="programs of bin/ beside python")
    options = parser.parse_args(argv)
    if options.step == "dependencies":
        dependencies(options.lock)
    else:
        package(options.lock, options.modules, options.keep)
    return 0


def dependencies(lock: Path) -> None:
    """Make the environment and install the lock, and first what builds from source, each by its hashes."""
    venv.create(TARGET, symlinks=True, with_pip=False)
    _pip(
        "install",
        "--no-compile",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(BUILD / "requirements/build.txt"),
    )
    _pip(
        "install",
        "--no-compile",
        "--no-deps",
        "--require-hashes",
        "--no-build-isolation",
        "--use-pep517",
        "-r",
        str(lock),
    )


def package(lock: Path, modules: list[str], keep: list[str]) -> None:
    """Install cd4ml, delete what the image does not need, compile, and see that the rest works."""
    wheels = BUILD / "wheels"
    source = str(BUILD / "source")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), source)
    _pip("install", "--no-compile", "--no-deps", "--no-index", "--find-links", str(wheels), "cd4ml")
    tools = locked_names(BUILD / "requirements/build.txt") - locked_names(lock)
    if tools:
        _pip("uninstall", "--yes", *sorted(tools))
    for program in (TARGET / "bin").iterdir():
        if not program.name.startswith("python") and program.name not in keep:
            program.unlink()
    site = _site()
    patterns = (BUILD / "images/shared/unneeded.txt").read_text(encoding="utf-8").splitlines()
    prune(site, [line for line in patterns if line and not line.startswith("#")])
    true_records(site)
    environment = {**os.environ, "PYTHONHASHSEED": "0", "_KFP_RUNTIME": "true", "HOME": "/nonexistent"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    # By the source's hash, and never compared with it: a layer's times are not those of the build. Some
    # packages have files for other versions of Python, which do not compile.
    compiling = [
        "-m",
        "compileall",
        "-q",
        "-f",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        str(site),
    ]
    subprocess.run([PYTHON, *compiling], env=environment, check=False, stdout=subprocess.DEVNULL)
    for module in modules:
        subprocess.run([PYTHON, "-c", f"import {module}"], env=environment, check=True)
    _set_apart(site)
    for folder in (TARGET, APART):
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (OLDEST, OLDEST), follow_symlinks=False)


def locked_names(lock: Path) -> set[str]:
    """Return the names of the packages in a lock."""
    return set(re.findall(r"^([a-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE))


def prune(site: Path, patterns: list[str]) -> None:
    """Delete what any of the patterns matches beneath a folder."""
    for path in [path for pattern in patterns for path in site.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def true_records(site: Path) -> None:
    """Take files that are not there any more from the packages' lists, which scanners read."""
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row and (site / row[0]).exists()]
        with record.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(rows)


def _set_apart(site: Path) -> None:
    """Move cd4ml out of the environment, to the same places beneath `APART`."""
    for path in (*site.glob("cd4ml"), *site.glob("cd4ml-*.dist-info"), *TARGET.glob("bin/cd4ml")):
        to = APART / path.relative_to(TARGET)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, to)


def _site() -> Path:
    (found,) = TARGET.glob("lib/python3.*/site-packages")
    return found


def _pip(*arguments: str) -> None:
    """Run the base image's pip for the environment; it is not installed there."""
    environment = {**os.environ, **dict(_settings())}
    command = [sys.executable, "-m", "pip", "--python", str(PYTHON), *arguments]
    subprocess.run(command, env=environment, check=True)


def _settings() -> Iterator[tuple[str, str]]:
    yield from (("PIP_NO_CACHE_DIR", "1"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1"))
    yield from (("PIP_NO_INPUT", "1"), ("PIP_QUIET", "1"), ("PIP_ROOT_USER_ACTION", "ignore"))
    for variable, secret in (("PIP_CONFIG_FILE", "pip-config"), ("PIP_CERT", "ca-bundle")):
        if (SECRETS / secret).is_file():
            yield variable, str(SECRETS / secret)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
