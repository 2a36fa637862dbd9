"""The program that builds and runs images: docker, podman or buildah, whichever is there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.errors import ServiceError, UsageError

__all__ = ["ENGINES", "BuiltImage", "Engine", "find_engine"]

ENGINES = ("docker", "podman", "buildah")
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class BuiltImage:
    """An image in the engine's store.

    Attributes
    ----------
    image_id : str
        `sha256:` and the hash of its configuration, which names its layers: the same bytes have the same id.
    size_bytes : int
        Of all its layers, the base image's with them.
    """

    image_id: str
    size_bytes: int


@dataclass(frozen=True)
class Engine:
    """One of the engines.

    Attributes
    ----------
    name : str
    command : tuple of str
        The program with its own options, such as another store.
    """

    name: str
    command: tuple[str, ...]

    def build(self, arguments: list[str], context: Path, epoch_seconds: int, cache: bool) -> None:
        """Build an image; what the engine says is shown.

        Parameters
        ----------
        arguments : list of str
            Such as are the same for all engines.
        context : Path
        epoch_seconds : int
            What times in the image shall be, so that the same source gives the same bytes.
        cache : bool
            Whether steps are kept for the next build. That takes time and room.

        Raises
        ------
        ServiceError
            If the build fails.
        """
        command = [*self.command, "build", *arguments]
        environment = dict(os.environ)
        if self.name == "docker":
            environment |= {"DOCKER_BUILDKIT": "1", "SOURCE_DATE_EPOCH": str(epoch_seconds)}
            command += ["--build-arg", f"SOURCE_DATE_EPOCH={epoch_seconds}"]
            command += [] if cache else ["--no-cache"]
        else:
            command += ["--timestamp", str(epoch_seconds), f"--layers={str(cache).lower()}"]
            command += [] if cache else ["--no-cache"]
        if subprocess.run([*command, str(context)], env=environment, check=False).returncode:
            raise ServiceError(f"{self.name} could not build the image; its own words are above")

    def inspect(self, image: str) -> BuiltImage:
        """Return what the engine's store says of an image.

        Raises
        ------
        ServiceError
            If there is no such image.
        """
        if self.name == "buildah":
            found = json.loads(self.run("inspect", "--type", "image", image))
            layers = json.loads(found["Manifest"])["layers"]
            return BuiltImage(_identity(found["FromImageID"]), sum(int(one["size"]) for one in layers))
        (one,) = json.loads(self.run("image", "inspect", image))
        return BuiltImage(_identity(one["Id"]), int(one["Size"]))

    def has(self, image: str) -> bool:
        """Return whether the store has an image."""
        kind = ("--type", "image") if self.name == "buildah" else ()
        verb = ("inspect",) if self.name == "buildah" else ("image", "inspect")
        done = subprocess.run([*self.command, *verb, *kind, image], check=False, capture_output=True)
        return done.returncode == 0

    def python(self, image: str, code: str) -> Any:
        """Return the JSON that a program prints in an image, without network and without rights."""
        if self.name == "buildah":
            container = self.run("from", "--pull-never", image).strip()
            try:
                return json.loads(
                    self.run("run", "--user", "10001:10001", container, "python", "-I", "-c", code)
                )
            finally:
                self.run("rm", container)
        safe = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        return json.loads(self.run("run", *safe, "--pull=never", image, "python", "-I", "-c", code))

    def run(self, *arguments: str) -> str:
        """Run one command of the engine and return what it prints.

        Raises
        ------
        ServiceError
            If it fails.
        """
        done = subprocess.run([*self.command, *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split())[-300:]
            raise ServiceError(
                f"`{self.name} {arguments[0]}` failed: {said or f'exit code {done.returncode}'}"
            )
        return done.stdout


def find_engine(wanted: str = "") -> Engine:
    """Return the engine to use.

    Parameters
    ----------
    wanted : str
        Its name, or its command with options; by default the first that works.

    Raises
    ------
    UsageError
        If `wanted` is none that is known.
    ServiceError
        If it, or any of them, is not installed or does not answer.
    """
    if not wanted:
        engines = [Engine(name, (name,)) for name in ENGINES]
        reasons = [_why_not(engine) for engine in engines]
        for engine, reason in zip(engines, reasons, strict=True):
            if not reason:
                return engine
        raise ServiceError(f"expected docker, podman or buildah; {'; '.join(reasons)}; install one of them")
    words = tuple(shlex.split(wanted))
    name = Path(words[0]).name if words else ""
    if name not in ENGINES:
        raise UsageError(f"expected one of {', '.join(ENGINES)} as the engine; found '{wanted}'")
    engine = Engine(name, words)
    reason = _why_not(engine)
    if reason:
        raise ServiceError(f"expected {name} to work; {reason}")
    return engine


def _why_not(engine: Engine) -> str:
    """Return why an engine cannot be used; "" when it can."""
    if shutil.which(engine.command[0]) is None:
        return f"{engine.name} is not installed"
    try:
        done = subprocess.run(
            [*engine.command, "version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{engine.name} does not answer"
    if done.returncode:
        return f"{engine.name} says: {' '.join(done.stderr.split())[-160:]}"
    return ""


def _identity(found: str) -> str:
    return found if found.startswith("sha256:") else f"sha256:{found}"
