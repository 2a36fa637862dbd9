"""Build the images and say what they are: `python -m scripts.images build [KIND...]`.

For each kind `OUT/KIND.json` says what was built; `OUT/KIND.cdx.json` is its bill of materials (CycloneDX).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cd4ml
from cd4ml.adapters.git import describe
from cd4ml.adapters.storage.atomic import write_json, write_text
from cd4ml.errors import Cd4mlError, NotFoundError, UsageError, nearest
from scripts.image_contents import INVENTORY, bill_of_materials, package_bytes
from scripts.image_engine import ENGINES, Engine, find_engine

__all__ = ["BASE", "KINDS", "PREFIX", "ROOT", "SOURCE", "build", "main"]

ROOT = Path(__file__).parent.parent
KINDS = {
    "components": "cd4ml-python",
    "predictor": "cd4ml-predictor",
    "controller": "cd4ml-controller",
    "seldon": "cd4ml-seldon",
}
"""Name of the repository by kind of image. kfp warns about a task's image without "python" in its name."""
PREFIX = "ghcr.io/cd4ml/"
BASE = "python:3.11-slim-bookworm"
SOURCE = "https://github.com/cd4ml/cd4ml"
_NO_COMMIT = "unknown"
_PULL: dict[str, dict[str, list[str]]] = {
    "docker": {"missing": [], "never": []},  # it fetches what is missing, and has no word for never
    "podman": {"missing": ["--pull=missing"], "never": ["--pull=never"]},
    "buildah": {"missing": ["--pull=false"], "never": ["--pull=never"]},
}
"""Each engine's words; those of `missing` fetch nothing that is there."""


@dataclass(frozen=True)
class _Origin:
    """Where the source comes from: commit, `-dirty` after it where files differ, and the commit's time."""

    commit: str
    epoch_seconds: int

    @property
    def created(self) -> str:
        return datetime.fromtimestamp(self.epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build(  # noqa: PLR0913 - the options of a command
    kinds: Sequence[str] = (),
    *,
    engine: str = "",
    base: str = BASE,
    prefix: str = PREFIX,
    tag: str = "",
    pull: str = "missing",
    out: Path = Path("out/images"),
    cache: bool = True,
    pip_config: Path | None = None,
    ca_bundle: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Build images and write what they are.

    Parameters
    ----------
    kinds : sequence of str
        Of `KINDS`; all by default.
    engine : str
        docker, podman or buildah, or such a command with options; the first that works by default.
    base : str
        Image to build on: a Debian with Python 3.11 and pip.
    prefix : str
        What comes before the repository's name.
    tag : str
        The package's version by default.
    pull : {"missing", "never"}
        Whether the base may be fetched.
    out : Path
        Folder for `KIND.json` and `KIND.cdx.json`.
    cache : bool
        Whether the engine keeps steps for the next build.
    pip_config, ca_bundle : Path, optional
        pip.conf and certificates for the build; by default those that PIP_CONFIG_FILE, and PIP_CERT or
        SSL_CERT_FILE, name. The images hold neither.

    Returns
    -------
    dict
        By kind: `repository`, `tag`, `image_id`, `bytes`, `commit`, `version`, `base`, `base_id`, `created`,
        `python`, and `packages` (bytes by name).

    Raises
    ------
    UsageError
        If an argument is impossible.
    ServiceError
        If no engine works, the base is not there, or a build fails.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise NotFoundError(f"expected one of {', '.join(KINDS)}; found '{kind}'{nearest(kind, KINDS)}")
    if pull not in ("missing", "never"):
        raise UsageError(f"expected --pull missing or never; found '{pull}'")
    tag = tag or cd4ml.__version__
    program, origin = find_engine(engine), _origin()
    if pull == "never" and not program.has(base):
        raise UsageError(
            f"expected the base image {base} in {program.name}'s store, found none; let it be pulled"
        )
    secrets = _secrets(pip_config, ca_bundle)
    found = {}
    for kind in kinds or KINDS:
        begun = time.monotonic()
        name = f"{prefix}{KINDS[kind]}"
        words = _arguments(kind, f"{name}:{tag}", base, pull, origin, secrets, program)
        program.build(words, ROOT, origin.epoch_seconds, cache)
        found[kind] = _described(program, name, tag, base, origin, out / f"{kind}.cdx.json")
        write_json(out / f"{kind}.json", found[kind])
        _say(kind, found[kind], time.monotonic() - begun)
    return found


def _origin() -> _Origin:
    git = describe(ROOT)
    commit = (git.commit or _NO_COMMIT) + ("-dirty" if git.dirty else "")
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdigit():
        raise UsageError(f"expected SOURCE_DATE_EPOCH in seconds since 1970; found '{given}'")
    if given or not git.commit:
        return _Origin(commit, int(given or 0))
    told = subprocess.run(
        ["git", "-C", str(ROOT), "show", "--no-patch", "--format=%ct", git.commit],
        check=True,
        capture_output=True,
        text=True,
    )
    return _Origin(commit, int(told.stdout))


def _secrets(pip_config: Path | None, ca_bundle: Path | None) -> dict[str, Path]:
    """Return the files that pip gets in the build, and no layer has."""
    environment = os.environ
    chosen = {
        "pip-config": pip_config or _named(environment.get("PIP_CONFIG_FILE")),
        "ca-bundle": ca_bundle or _named(environment.get("PIP_CERT") or environment.get("SSL_CERT_FILE")),
    }
    for given in (pip_config, ca_bundle):
        if given is not None and not given.is_file():
            raise UsageError(f"expected a file; found none at {given}")
    return {name: path for name, path in chosen.items() if path is not None}


def _named(path: str | None) -> Path | None:
    """Return a file that the environment names, where it is one: PIP_CONFIG_FILE may be /dev/null."""
    return Path(path) if path and Path(path).is_file() else None


def _arguments(
    kind: str, image: str, base: str, pull: str, origin: _Origin, secrets: dict[str, Path], program: Engine
) -> list[str]:
    values = {
        "BASE_IMAGE": base,
        "CREATED": origin.created,
        "REVISION": origin.commit,
        "SOURCE": SOURCE,
        "VERSION": cd4ml.__version__,
    }
    words = ["--file", str(ROOT / f"images/{kind}/Dockerfile"), "--tag", image]
    words += [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
    words += [word for name, path in secrets.items() for word in ("--secret", f"id={name},src={path}")]
    return words + _PULL[program.name][pull]


def _described(program: Engine, name: str, tag: str, base: str, origin: _Origin, bom: Path) -> dict[str, Any]:
    image = program.inspect(f"{name}:{tag}")
    inventory = program.python(f"{name}:{tag}", INVENTORY)
    found = {
        "base": base,
        "base_id": program.inspect(base).image_id,
        "bytes": image.size_bytes,
        "commit": origin.commit,
        "created": origin.created,
        "image_id": image.image_id,
        "packages": package_bytes(inventory),
        "python": inventory["python"],
        "repository": name,
        "tag": tag,
        "version": cd4ml.__version__,
    }
    bom.parent.mkdir(parents=True, exist_ok=True)
    write_text(bom, bill_of_materials(found, inventory))
    return found


def _say(kind: str, image: dict[str, Any], seconds: float) -> None:
    size = f"{image['bytes'] / 1e6:.0f} MB"
    print(
        f"{kind}: {image['repository']}:{image['tag']} {image['image_id'][:19]} {size} in {seconds:.0f} s",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.images", description=__doc__)
    verb = parser.add_subparsers(dest="verb", required=True).add_parser("build", help="build images")
    verb.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    verb.add_argument("--engine", default="", help=f"{', '.join(ENGINES)}, or such a command with options")
    verb.add_argument("--base", default=BASE, metavar="IMAGE", help=f"image to build on (default: {BASE})")
    verb.add_argument("--prefix", default=PREFIX, help=f"before the repository's name (default: {PREFIX})")
    verb.add_argument("--tag", default="", help="default: the package's version")
    verb.add_argument(
        "--pull", default="missing", choices=("missing", "never"), help="whether to fetch the base"
    )
    verb.add_argument("--out", type=Path, default=Path("out/images"), help="default: out/images")
    verb.add_argument("--no-cache", action="store_true", help="keep no steps for the next build")
    verb.add_argument("--pip-config", type=Path, help="pip.conf for the build (default: PIP_CONFIG_FILE)")
    verb.add_argument("--ca-bundle", type=Path, help="certificates for it (default: PIP_CERT, SSL_CERT_FILE)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = vars(_parser().parse_args(argv))
    del options["verb"]
    options["cache"] = not options.pop("no_cache")
    try:
        build(**options)
    except Cd4mlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
