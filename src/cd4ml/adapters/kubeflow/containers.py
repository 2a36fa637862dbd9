"""Tasks of a local run in containers, where kfp's own way of running them does not do.

kfp.local removes a container as soon as it has ended, and takes one that is gone before it was asked for its
exit code for a success. Here the code is read first. A container sees the folders of the run and those that
the pipeline's arguments name, each under its own path, and belongs to the user who called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cd4ml.errors import ServiceError, UsageError

__all__ = ["check_engine", "docker_runner", "mounted", "remove_containers", "run_container"]

LABEL = "cd4ml.run"
_PASSED = ("AWS_", "CD4ML_", "OMP_")


def check_engine() -> None:
    """See that containers can be started.

    Raises
    ------
    UsageError
        When the client library is not installed.
    ServiceError
        When no engine answers.
    """
    try:
        import docker  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(
            "the docker runner needs the Python package 'docker', found none; pip install docker"
        ) from None
    where = os.environ.get("DOCKER_HOST") or "its default socket"
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except (docker.errors.DockerException, OSError) as error:
        raise ServiceError(
            f"expected a container engine at {where}, found none ({type(error).__name__}); "
            "start docker, or `podman system service` and set DOCKER_HOST"
        ) from None


def mounted(arguments: Mapping[str, object]) -> list[str]:
    """Return the absolute paths of files and folders among the arguments of a pipeline, sorted."""
    texts = {value for value in arguments.values() if isinstance(value, str) and value.startswith("/")}
    return sorted(text for text in texts if len(text) < 4096 and Path(text).exists())


def docker_runner(run: Path, arguments: Mapping[str, object]) -> Any:
    """Return kfp's runner with what a task needs here, after mending how it waits for containers."""
    from docker.types import Mount  # type: ignore[import-untyped]
    from kfp import local
    from kfp.local import docker_task_handler

    docker_task_handler.run_docker_container = run_container
    # Values of variables are handed to the engine's API, not to a command line that others could read.
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
    return local.DockerRunner(
        user=f"{os.getuid()}:{os.getgid()}",
        environment={**environment, "HOME": "/tmp"},  # noqa: S108 - of the container
        # The outputs of cached tasks lie in the folders of other runs.
        mounts=[
            Mount(target=path, source=path, type="bind") for path in [str(run.parent), *mounted(arguments)]
        ],
        labels={LABEL: run.name},
    )


def run_container(
    client: Any, image: str, command: list[str], volumes: Mapping[str, Any], **arguments: Any
) -> int:
    """Run a container to its end and return its exit code; an image that is not here is pulled."""
    import docker

    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        client.images.pull(image)
    container = client.containers.run(
        image=image, command=command, volumes=volumes, **{**arguments, "detach": True, "auto_remove": False}
    )
    try:
        for line in container.logs(stream=True, follow=True):
            sys.stdout.write(line.decode(errors="replace"))
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def remove_containers(run: Path) -> None:
    """Stop and remove the containers of a run."""
    import docker

    client = docker.from_env()
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}={run.name}"}):
        container.remove(force=True)
