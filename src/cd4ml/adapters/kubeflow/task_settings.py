"""A problem's settings for Kubernetes, applied to a compiled pipeline.

What comes out is what kfp would have compiled from the same settings: resources, environment and retries
stand in the specification, all else in the document for the platform.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.compiled import documents, names, package, with_image
from cd4ml.adapters.kubeflow.task_documents import PLATFORM, RESOURCES, pipeline_config
from cd4ml.errors import ProblemError, nearest
from cd4ml.problem.kubernetes import Kubernetes, Retries, TaskSettings
from cd4ml.problem.kubernetes_values import cores, size_bytes

__all__ = ["Task", "check_settings", "rendered", "tasks_of", "with_settings"]

_MEASURES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "cpu": ("Cpu", cores),
    "memory": ("Memory", size_bytes),
}
_EXECUTOR = "exec-"
_OURS = "cd4ml-"


@dataclass(frozen=True)
class Task:
    """A container of a compiled pipeline.

    Attributes
    ----------
    name : str
        As in the pipeline, e.g. "await-phase-2".
    component : str
        What it runs, e.g. "await-phase".
    title : str
        What the dashboard calls it.
    container : dict
        Its image, command, environment and resources.
    entries : tuple of dict
        Its entries in the graphs, where retries stand.
    """

    name: str
    component: str
    title: str
    container: dict[str, Any]
    entries: tuple[dict[str, Any], ...]


def tasks_of(pipeline: Mapping[str, Any]) -> list[Task]:
    """Return the containers of a compiled pipeline, sorted by name."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for entry in _entries(pipeline):
        label = pipeline["components"][entry["componentRef"]["name"]].get("executorLabel", "")
        entries.setdefault(label, []).append(entry)
    found = []
    for label, executor in sorted(pipeline["deploymentSpec"]["executors"].items()):
        if "container" in executor:
            name, own = label.removeprefix(_EXECUTOR), entries.get(label, [])
            title = own[0]["taskInfo"]["name"] if own else name
            component = _component(executor["container"]) or name
            found.append(Task(name, component, title, executor["container"], tuple(own)))
    return found


def _entries(pipeline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for component in (pipeline["root"], *pipeline.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def _component(container: Mapping[str, Any]) -> str:
    """Return the name of the component that a container runs, as the pipeline would name its first task."""
    arguments = list(container.get("args", []))
    flag = "--function_to_execute"
    function = arguments[arguments.index(flag) + 1] if flag in arguments[:-1] else ""
    return str(function).replace("_", "-")


def with_settings(compiled: Sequence[Mapping[str, Any]], settings: Kubernetes) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline with a problem's settings; what came in stays as it is.

    Parameters
    ----------
    compiled : sequence of mapping
        Of `compiled.documents`: the specification, then what only Kubernetes needs, where there is any.
    settings : Kubernetes
        The `kubernetes` section of a problem; names of tasks of the other installed pipelines are let pass.

    Raises
    ------
    ProblemError
        When a task is not known, or a request is above the limit that the pipeline brings; `path` is that
        in the problem file.
    """
    found = copy.deepcopy([dict(one) for one in compiled])
    tasks = tasks_of(found[0])
    pipeline = str(found[0]["pipelineInfo"]["name"]).removeprefix(_OURS)
    _check_names(settings, {*_names_of(tasks), *_installed_names()}, {pipeline, *names()})
    platform = found[1] if len(found) > 1 else {}
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    executors = kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
    for task in tasks:
        said = settings.of(task.component, task.name)
        _apply(task, executors.setdefault(f"{_EXECUTOR}{task.name}", {}), said)
        _check_amounts(task, settings)
    _without_empty(kubernetes)
    configuration = pipeline_config(settings.of_runs(pipeline))
    if configuration:
        kubernetes["pipelineConfig"] = {**kubernetes.get("pipelineConfig", {}), **configuration}
    return [found[0], *([platform] if kubernetes else []), *found[2:]]


def _apply(task: Task, platform: dict[str, Any], said: TaskSettings) -> None:
    """Put what was said of a task, and nothing else, into its container, its entries and its platform."""
    for key in sorted(said.model_fields_set & RESOURCES.keys()):
        resources = task.container.setdefault("resources", {})
        RESOURCES[key](resources, getattr(said, key))
        if not resources:
            del task.container["resources"]
    if "retries" in said.model_fields_set:
        for entry in task.entries:
            entry.pop("retryPolicy", None)
            if said.retries is not None and said.retries.count:
                entry["retryPolicy"] = _retry_policy(said.retries)
    for key, change in PLATFORM.items():
        if key in said.model_fields_set:
            change(platform, task.container, getattr(said, key))


def _retry_policy(retries: Retries) -> dict[str, Any]:
    return {
        "backoffDuration": f"{int(retries.wait.total_seconds())}s",
        "backoffFactor": float(retries.factor),
        "backoffMaxDuration": f"{int(retries.longest.total_seconds())}s",
        "maxRetryCount": retries.count,
    }


def _without_empty(kubernetes: dict[str, Any]) -> None:
    """Take out what kfp would not have written: entries without content."""
    executors = kubernetes["deploymentSpec"]["executors"]
    for label in [label for label, one in executors.items() if not one]:
        del executors[label]
    if not executors:
        del kubernetes["deploymentSpec"]


def _check_amounts(task: Task, settings: Kubernetes) -> None:
    """See that what was said goes with what the pipeline itself asks for."""
    for key, (word, measured) in _MEASURES.items():
        found = task.container.get("resources", {})
        request, limit = found.get(f"resource{word}Request"), found.get(f"resource{word}Limit")
        if request and limit and measured(limit) < measured(request):
            raise ProblemError(
                f"the task '{task.name}' would ask for {request} and be limited to {limit}; give both"
                " `request` and `limit`",
                _where(task, settings, key),
            )


def _where(task: Task, settings: Kubernetes, key: str) -> tuple[str, ...]:
    for name in (task.name, task.component):
        if name in settings.tasks and key in settings.tasks[name].model_fields_set:
            return ("kubernetes", "tasks", name, key)
    return ("kubernetes", "defaults", key)


def _names_of(tasks: Sequence[Task]) -> set[str]:
    return {name for task in tasks for name in (task.name, task.component)}


@lru_cache(maxsize=1)
def _installed() -> dict[str, list[dict[str, Any]]]:
    """Return the documents of the installed pipelines; they are never changed."""
    return {name: documents(package(name)) for name in names()}


def _installed_names() -> set[str]:
    return {name for found in _installed().values() for name in _names_of(tasks_of(found[0]))}


def _check_names(settings: Kubernetes, tasks: set[str], pipelines: set[str]) -> None:
    for name in settings.tasks:
        if name not in tasks:
            hint = nearest(name, tasks) or f"; there are {', '.join(sorted(tasks))}"
            raise ProblemError(f"no pipeline has a task '{name}'{hint}", ("kubernetes", "tasks", name))
    for name in settings.pipelines:
        if name not in pipelines:
            hint = nearest(name, pipelines) or f"; there are {', '.join(sorted(pipelines))}"
            raise ProblemError(f"no pipeline has the name '{name}'{hint}", ("kubernetes", "pipelines", name))


def check_settings(settings: Kubernetes) -> None:
    """Hold a problem's settings against the installed pipelines; as `with_settings`."""
    if settings.model_fields_set:
        for found in _installed().values():
            with_settings(found, settings)


def rendered(file: Path, settings: Kubernetes | None = None, image: str = "") -> str:
    """Return the text of a compiled pipeline with settings and an image, as kfp would have written it.

    Without settings and image it is the text of the file, byte for byte.

    Raises
    ------
    SourceError
        When `file` is no compiled pipeline.
    UsageError
        When the image is not pinned; a ProblemError as of `with_settings`.
    """
    import yaml

    found = documents(file)
    text = with_image(file, image) if image else file.read_text(encoding="utf-8")
    if settings is None or not settings.model_fields_set:
        return text
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = with_settings(list(yaml.load_all(text, Loader=loader)), settings)
    head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    return head + str(yaml.dump_all(found, Dumper=yaml.SafeDumper, sort_keys=True))
