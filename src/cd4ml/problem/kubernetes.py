"""What the tasks of a problem's pipelines get on a cluster. It is no part of what a model is.

The names of Secrets, config maps and volumes are here, and never a secret itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import chain
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from cd4ml.errors import ProblemError
from cd4ml.problem.kubernetes_values import (
    Claim,
    Cpu,
    EnvName,
    LabelKey,
    LabelValue,
    Memory,
    Mounted,
    MountPath,
    ObjectName,
    PlainEnvName,
    PlainText,
    ResourceName,
    Seconds,
    Size,
    cores,
    size_bytes,
)
from cd4ml.problem.quantities import Model

__all__ = [
    "Accelerator",
    "ConfigMap",
    "CpuAmount",
    "EmptyDir",
    "Kubernetes",
    "MemoryAmount",
    "NodeAffinity",
    "NodeExpression",
    "PersistentClaim",
    "Retries",
    "RunSettings",
    "Secret",
    "SecurityContext",
    "TaskSettings",
    "TimeToLive",
    "Toleration",
    "Workspace",
]

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]


class CpuAmount(Model):
    """Processor of a task's container."""

    request: Cpu | None = None
    """Cores that a node must have free, such as 2, 0.5 or 500m."""
    limit: Cpu | None = None
    """Most cores; the task is slowed down at it."""

    @model_validator(mode="after")
    def _ordered(self) -> CpuAmount:
        if self.request and self.limit and cores(self.limit) < cores(self.request):
            raise ValueError(
                f"expected a limit of at least the request {self.request}; found limit {self.limit}"
            )
        return self


class MemoryAmount(Model):
    """Memory of a task's container."""

    request: Memory | None = None
    """Memory that a node must have free, such as 512Mi or 8Gi."""
    limit: Memory | None = None
    """Most memory; the task is killed at it."""

    @model_validator(mode="after")
    def _ordered(self) -> MemoryAmount:
        if self.request and self.limit and size_bytes(self.limit) < size_bytes(self.request):
            raise ValueError(
                f"expected a limit of at least the request {self.request}; found limit {self.limit}"
            )
        return self


class Accelerator(Model):
    """Devices such as GPUs."""

    type: ResourceName
    """The resource's name on the nodes, such as `nvidia.com/gpu`."""
    count: int = Field(1, ge=1)


class Toleration(Model):
    """Lets a task run on nodes that have a taint."""

    key: LabelKey | None = None
    """The taint's key; without one all taints are tolerated, with the operator `Exists`."""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Without one all effects are tolerated."""
    seconds: int | None = Field(None, ge=0)
    """How long to stay on a node that gets the taint, with `NoExecute`; without it for ever."""

    @model_validator(mode="after")
    def _consistent(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(f"`Exists` takes no value; found {self.value!r}")
        if self.key is None and self.operator != "Exists":
            raise ValueError("a toleration needs a `key`, or the operator `Exists` for all; found neither")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError(f"`seconds` belongs to the effect NoExecute; found {self.effect}")
        return self


class NodeExpression(Model):
    """A condition on a label of a node."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: list[LabelValue] = Field(default_factory=list)

    @model_validator(mode="after")
    def _counted(self) -> NodeExpression:
        count = len(self.values)
        right = {"In": count > 0, "NotIn": count > 0, "Gt": count == 1, "Lt": count == 1}
        if not right.get(self.operator, count == 0):
            raise ValueError(
                f"In and NotIn take values, Gt and Lt one, Exists and DoesNotExist none; found {count} values"
                f" for {self.operator}"
            )
        return self


class NodeAffinity(Model):
    """Nodes that a task must have, or would rather have."""

    expressions: list[NodeExpression] = Field(min_length=1)
    """All of them hold."""
    weight: int | None = Field(None, ge=1, le=100)
    """How much such a node is preferred; without it the task runs on such a node or not at all."""


class _Source(Model):
    name: ObjectName
    env: dict[str, EnvName] = Field(default_factory=dict)
    """Environment variable by key."""
    path: MountPath | None = None
    """Where all keys are files."""
    optional: bool = False
    """Whether the task starts without it."""

    @model_validator(mode="after")
    def _used(self) -> _Source:
        if not self.env and self.path is None:
            raise ValueError("expected `env`, `path` or both; found neither")
        return self


class Secret(_Source):
    """A Kubernetes Secret, by name: its values stay on the cluster."""


class ConfigMap(_Source):
    """A Kubernetes ConfigMap, by name."""


class PersistentClaim(Model):
    """A PersistentVolumeClaim that is there, mounted."""

    claim: Claim
    path: MountPath
    subpath: str = Field("", pattern=r"^([^/].*)?$")
    """Folder within the volume; empty for the whole."""

    @field_validator("subpath")
    @classmethod
    def _within(cls, path: str) -> str:
        if ".." in path.split("/"):
            raise ValueError(f"expected a folder within the volume; found {path!r}")
        return path


class EmptyDir(Model):
    """Room that is there as long as the task's pod is."""

    name: Mounted
    path: MountPath
    medium: Literal["Memory", "HugePages"] | None = None
    """`Memory` counts against the task's memory limit."""
    size: Size | None = None
    """Most that may be kept there."""


class Retries(Model):
    """How often a failed task is tried again on a cluster. A local run tries once."""

    count: int = Field(ge=0, le=100)
    wait: Seconds = timedelta(seconds=30)
    """Time before the first retry."""
    factor: float = Field(2.0, ge=1, le=100)
    """By how much the time grows from one retry to the next."""
    longest: Seconds = timedelta(minutes=5)
    """For how long at most it is tried again."""


class SecurityContext(Model):
    """Who the container runs as."""

    user: int | None = Field(None, ge=1)
    """Number of the user; not root."""
    group: int | None = Field(None, ge=0)
    non_root: Literal[True] | None = None
    """Kubernetes refuses to start an image that would run as root."""


class TaskSettings(Model):
    """What one task gets; `null` takes away what it would get otherwise."""

    cpu: CpuAmount | None = None
    memory: MemoryAmount | None = None
    accelerator: Accelerator | None = None
    node_selector: dict[LabelKey, LabelValue] | None = None
    """Labels that a node must have."""
    tolerations: list[Toleration] | None = None
    node_affinity: list[NodeAffinity] | None = None
    image_pull_secrets: list[ObjectName] | None = None
    """Secrets with which the image is pulled."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    secrets: list[Secret] | None = None
    config_maps: list[ConfigMap] | None = None
    claims: list[PersistentClaim] | None = None
    empty_dirs: list[EmptyDir] | None = None
    env: dict[PlainEnvName, PlainText] | None = None
    """Values that everybody may read; they are not part of what a cluster's cache compares."""
    labels: dict[LabelKey, LabelValue] | None = None
    """Of the task's pod."""
    annotations: dict[LabelKey, PlainText] | None = None
    """Of the task's pod."""
    retries: Retries | None = None
    timeout: Seconds | None = None
    """How long the pod may be at work, for each try."""
    security: SecurityContext | None = None

    @model_validator(mode="after")
    def _apart(self) -> TaskSettings:
        _once([*(self.env or {}), *_variables(self)], "the variable")
        _once([one.path for one in _mounts(self)], "the path")
        mounted = [source.name for source in _sources(self) if source.path]
        volumes = [*mounted, *[one.claim for one in self.claims or ()], *_names(self.empty_dirs)]
        _once(volumes, "the volume name")  # Kubeflow Pipelines names a volume after what is in it
        for name in mounted:
            if "." in name or len(name) > 63:
                raise ValueError(
                    f"expected a name of at most 63 letters without dots for what is mounted; found {name!r}"
                )
        return self


def _sources(settings: TaskSettings) -> list[Secret | ConfigMap]:
    return [*(settings.secrets or ()), *(settings.config_maps or ())]


def _names(folders: list[EmptyDir] | None) -> list[str]:
    return [one.name for one in folders or ()]


def _variables(settings: TaskSettings) -> list[str]:
    return list(chain.from_iterable(source.env.values() for source in _sources(settings)))


def _mounts(settings: TaskSettings) -> list[Any]:
    sources = [source for source in _sources(settings) if source.path]
    return [*sources, *(settings.claims or ()), *(settings.empty_dirs or ())]


def _once(names: list[str], what: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{what} '{name}' is given twice; found it in two places of one task")


class Workspace(Model):
    """A volume that lasts as long as a run; a task sees it that has its path as a parameter."""

    size: Size
    storage_class: ObjectName | None = None
    """Without one that of the Kubeflow Pipelines server."""
    access_modes: list[AccessMode] = Field(default_factory=list)
    """Without any those of the Kubeflow Pipelines server."""


class TimeToLive(Model):
    """How long the workflow of a run that has ended is kept on the cluster; its outputs stay."""

    finished: Seconds | None = None
    succeeded: Seconds | None = None
    """In place of `finished`."""
    failed: Seconds | None = None
    """In place of `finished`."""


class RunSettings(Model):
    """What a run of a pipeline gets; `null` takes away what it would get otherwise."""

    workspace: Workspace | None = None
    deadline: Seconds | None = None
    """How long a run may take, waiting included. Then it is cut off, with what was to run at its end."""
    ttl: TimeToLive | None = None


class Kubernetes(Model):
    """Settings of a problem's pipelines on a cluster; a local run takes no notice of them.

    They are no part of what a model is: neither its id nor what is taken from a cache depends on them.
    """

    defaults: TaskSettings = Field(default_factory=TaskSettings)
    """For all tasks. What a pipeline brings itself stays where nothing is said here."""
    tasks: dict[str, TaskSettings] = Field(default_factory=dict)
    """By name of the task, or of its component for all of its tasks. Mappings are merged with the defaults,
    lists and values take their place."""
    runs: RunSettings = Field(default_factory=RunSettings)
    """For the runs of all pipelines."""
    pipelines: dict[str, RunSettings] = Field(default_factory=dict)
    """By name of the pipeline, over `runs` as `tasks` over `defaults`."""

    @model_validator(mode="after")
    def _fit(self) -> Kubernetes:
        for name in self.tasks:
            self.of(name)
        return self

    def of(self, *names: str) -> TaskSettings:
        """Return the defaults with what is said of each name, the later over the earlier.

        Only what was said is set; see `model_fields_set`.

        Raises
        ------
        ProblemError
            When they do not fit together; `path` names the task within `kubernetes`.
        """
        found = _said(self.defaults)
        last = ""
        for name in names:
            if name in self.tasks:
                found, last = _merged(found, _said(self.tasks[name])), name
        try:
            return TaskSettings.model_validate(found)
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            path = ("tasks", last, *(part for part in first["loc"]))
            raise ProblemError(f"with the defaults: {message}", path) from None

    def of_runs(self, pipeline: str) -> RunSettings:
        """Return what is said of all runs with what is said of those of a pipeline over it."""
        above = _said(self.pipelines[pipeline]) if pipeline in self.pipelines else {}
        return RunSettings.model_validate(_merged(_said(self.runs), above))

    def told(self) -> dict[str, list[str]]:
        """Return which keys are set of all tasks, of each task, of all runs and of those of a pipeline."""
        of_runs = {f"runs of {name}": settings for name, settings in self.pipelines.items()}
        found = {"all tasks": self.defaults, **self.tasks, "all runs": self.runs, **of_runs}
        told = {name: list(_said(settings)) for name, settings in found.items()}
        return {name: keys for name, keys in told.items() if keys}


def _said(settings: Model) -> dict[str, Any]:
    return settings.model_dump(exclude_unset=True)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, with what is above winning; mappings within are merged."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        found[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return found
