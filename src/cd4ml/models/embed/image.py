"""An embedded model as a container image: what it is built of, and building it where something can."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cd4ml.adapters.storage import atomic
from cd4ml.errors import DataError, ServiceError, UsageError
from cd4ml.models.embed.wheel import Wheel
from cd4ml.models.reload import requirement_closure

__all__ = [
    "BASE_IMAGE",
    "BUILDERS",
    "build_command",
    "build_image",
    "image_tag",
    "locked_lines",
    "write_context",
]

BASE_IMAGE = "python:3.11-slim"
BUILDERS = ("docker", "podman", "buildah")
"""What can build an image, in the order in which they are tried."""

_DOCKERFILE = """# {package} {version}: JSON lines in, JSON lines out.
ARG BASE_IMAGE={base}
FROM ${{BASE_IMAGE}} AS build
COPY requirements.txt {wheel} /build/
RUN python -m venv --copies /opt/model \\
 && /opt/model/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes \\
    --only-binary=:all: -r /build/requirements.txt \\
 && /opt/model/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps \\
    /build/{wheel} \\
 && /opt/model/bin/python -m {package} --verify

FROM ${{BASE_IMAGE}}
LABEL org.opencontainers.image.title="{distribution}" \\
      org.opencontainers.image.version="{version}" \\
      io.cd4ml.bundle="{bundle}"
COPY --from=build /opt/model /opt/model
# Nothing is written: the root may be read-only.
ENV PATH=/opt/model/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
ENTRYPOINT ["python", "-m", "{package}"]
"""


def locked_lines(lock: Path, distributions: Sequence[str]) -> str:
    """Return the part of a lock with hashes that some distributions, and what they need, stand for.

    Parameters
    ----------
    lock : Path
        As pip reads it with --require-hashes: `name==version \\`, then lines with --hash.

    Raises
    ------
    UsageError
        If there is no such file.
    DataError
        If one of the distributions themselves is not in it, or without hashes.
    """
    if not lock.is_file():
        raise UsageError(
            f"an image needs locked requirements with hashes; found no '{lock}'. Give the file with --lock"
        )
    wanted = set[str]().union(*(requirement_closure(name, "") for name in distributions))
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = [block.strip() for block in re.split(r"\n(?=\S)", text) if "==" in block]
    found = {_normal(block.partition("==")[0]): block for block in blocks}
    for name in map(_normal, distributions):
        if "--hash=" not in found.get(name, ""):
            raise DataError(f"expected '{name}' with its hashes in '{lock.name}'; found none")
    return "\n".join(found[name] for name in sorted(wanted & found.keys())) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def write_context(wheel: Wheel, out: Path, lock: Path, base_image: str = BASE_IMAGE) -> Path:
    """Write the folder that an image is built of: Dockerfile, requirements.txt with hashes, the wheel.

    Raises
    ------
    UsageError
        If the base image's name would break the Dockerfile, or there is no lock.
    DataError
        If the lock lacks a requirement, or has another version than the wheel was tested with.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w./:@-]*", base_image):
        raise UsageError(f"expected the name of an image such as {BASE_IMAGE}; found '{base_image}'")
    lines = locked_lines(lock, list(wheel.requirements))
    for name, version in wheel.requirements.items():
        if not re.search(rf"^{re.escape(_normal(name))}=={re.escape(version)}\s", lines, re.MULTILINE):
            raise DataError(f"the model was tested with {name} {version}; '{lock.name}' has another one")
    naming = wheel.naming
    dockerfile = _DOCKERFILE.format(
        package=naming.package,
        version=naming.version,
        distribution=naming.distribution,
        bundle=naming.bundle_id,
        wheel=wheel.path.name,
        base=base_image,
    )
    with atomic.directory(out) as folder:
        atomic.write_bytes(folder / wheel.path.name, wheel.path.read_bytes())
        atomic.write_text(folder / "requirements.txt", lines)
        atomic.write_text(folder / "Dockerfile", dockerfile)
    return out


def image_tag(wheel: Wheel) -> str:
    """Return the tag of the image; a tag cannot hold "+"."""
    return f"{wheel.naming.distribution}:{wheel.naming.version.replace('+', '-')}"


def build_command(wheel: Wheel, context: Path, builder: str = BUILDERS[0]) -> list[str]:
    """Return the command that builds the image."""
    verb = "bud" if builder == "buildah" else "build"
    return [builder, verb, "--tag", image_tag(wheel), str(context)]


def build_image(wheel: Wheel, context: Path, builders: Sequence[str] = BUILDERS) -> str:
    """Build the image with the first builder that is there, and return its tag.

    Raises
    ------
    ServiceError
        If there is no builder, or it failed: the context stays, the message says the command.
    """
    builder = next((name for name in builders if shutil.which(name)), None)
    command = build_command(wheel, context, builder or BUILDERS[0])
    told = f"The context is in '{context}'; build it with: {' '.join(command)}"
    if builder is None:
        raise ServiceError(f"no docker, podman or buildah was found here. {told}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["no word"])[-1][:200].rstrip(" .?!")
        raise ServiceError(f"{builder} could not build the image: {line}. {told}")
    return image_tag(wheel)
