"""Tasks of a local run in containers, where kfp's own way of running them does not do.

kfp.local removes a container as soon as it has ended, and takes one that is gone before it was asked for its
exit code for a success. Here the code is read first. A container sees the folders of the run and those that
the pipeline's arguments name, each under its own path; it writes to its own outputs and to the store alone,
and what else it may not do is in `isolation`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.folders import EVENTS, TASKS
from cd4ml.adapters.kubeflow.isolation import hand_over, limits, mounted, task_folder, user
from cd4ml.errors import ServiceError, UsageError

__all__ = ["check_engine", "docker_runner", "remove_containers", "run_container"]

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


def docker_runner(run: Path, arguments: Mapping[str, object]) -> Any:
    """Return kfp's runner with what a task needs here, after mending how it waits for containers."""
    from kfp import local
    from kfp.local import docker_task_handler

    docker_task_handler.run_docker_container = run_container
    (run / EVENTS).touch()
    # The outputs of cached tasks lie in the folders of other runs.
    mounts = {str(run.parent): False, **mounted(arguments), str(run / EVENTS): True}
    hand_over([run.parent, *(Path(path) for path, written in mounts.items() if written)])
    # Values of variables are handed to the engine's API, not to a command line that others could read.
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
    return local.DockerRunner(
        user="{}:{}".format(*user()),
        environment={**environment, "HOME": "/tmp"},  # noqa: S108 - of the container
        mounts=[_mount(path, written=written) for path, written in mounts.items()],
        labels={LABEL: run.name},
        **limits(arguments),
    )


def _mount(path: str, *, written: bool) -> Any:
    from docker.types import Mount  # type: ignore[import-untyped]

    return Mount(target=path, source=path, type="bind", read_only=not written)


def _own(
    command: Sequence[str], volumes: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the volumes of a task and the rest of what it is given, with its own outputs to write to."""
    kept = dict(volumes)
    more = dict(given)
    if any("z" in str(volume["mode"]).split(",") for volume in kept.values()):
        # SELinux would have us relabel each folder that is mounted, those of the user too.
        more["security_opt"] = [*more.get("security_opt", []), "label=disable"]
    folder = task_folder(command)
    if folder is not None:
        kept = {path: volume for path, volume in kept.items() if Path(path).name != TASKS}
        more["mounts"] = [*more.get("mounts", []), _mount(str(folder), written=True)]
        hand_over([folder])
    hand_over(Path(path) for path in kept)
    return kept, more


def run_container(
    client: Any, image: str, command: list[str], volumes: Mapping[str, Any], **arguments: Any
) -> int:
    """Run a container to its end and return its exit code; an image that is not here is pulled."""
    import docker

    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        client.images.pull(image)
    kept, more = _own(command, volumes, arguments)
    container = client.containers.run(
        image=image, command=command, volumes=kept, **{**more, "detach": True, "auto_remove": False}
    )
    try:
        # Not by following the log: podman does not answer before the first line, and a task is silent.
        code = int(container.wait()["StatusCode"])
        sys.stdout.write(container.logs().decode(errors="replace"))
        return code
    finally:
        container.remove(force=True)


def remove_containers(run: Path) -> None:
    """Stop and remove the containers of a run."""
    import docker

    client = docker.from_env()
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}={run.name}"}):
        container.remove(force=True)
