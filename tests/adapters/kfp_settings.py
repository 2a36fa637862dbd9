"""The settings of a task and of a run, made by kfp's own functions, to compare with."""

from kfp import dsl, kubernetes

from cd4ml.problem.kubernetes import RunSettings, TaskSettings

__all__ = ["asked", "configured"]


def seconds(duration):
    return int(duration.total_seconds())


def asked(task, said: TaskSettings):
    """Ask kfp for what is said of a task, which has nothing of it yet."""
    _resources(task, said)
    _sources(task, said)
    _volumes(task, said)
    _nodes(task, said)
    for name, value in (said.env or {}).items():
        task.set_env_variable(name, value)
    for key, value in (said.labels or {}).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in (said.annotations or {}).items():
        kubernetes.add_pod_annotation(task, key, value)
    if said.retries and said.retries.count:
        waits = f"{seconds(said.retries.wait)}s", said.retries.factor, f"{seconds(said.retries.longest)}s"
        task.set_retry(said.retries.count, *waits)
    if said.timeout:
        kubernetes.set_timeout(task, seconds(said.timeout))
    if said.security:
        one = said.security
        kubernetes.set_security_context(task, one.user, one.group, one.non_root)
    return task


def _resources(task, said):
    for amount, name in ((said.cpu, "cpu"), (said.memory, "memory")):
        for side in ("request", "limit"):
            text = amount and getattr(amount, side)
            if text:
                getattr(task, f"set_{name}_{side}")(text)
    if said.accelerator:
        task.set_accelerator_type(said.accelerator.type).set_accelerator_limit(said.accelerator.count)


def _sources(task, said):
    for given, as_env, as_volume in (
        (said.secrets, kubernetes.use_secret_as_env, kubernetes.use_secret_as_volume),
        (said.config_maps, kubernetes.use_config_map_as_env, kubernetes.use_config_map_as_volume),
    ):
        for one in given or ():
            if one.env:
                as_env(task, one.name, dict(one.env), optional=one.optional)
            if one.path:
                as_volume(task, one.name, one.path, optional=one.optional)
    if said.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(said.image_pull_secrets))
    if said.image_pull_policy:
        kubernetes.set_image_pull_policy(task, said.image_pull_policy)


def _volumes(task, said):
    for one in said.claims or ():
        kubernetes.mount_pvc(task, one.claim, one.path, one.subpath)
    for one in said.empty_dirs or ():
        kubernetes.empty_dir_mount(task, one.name, one.path, one.medium, one.size)


def _nodes(task, said):
    for key, value in (said.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    for one in said.tolerations or ():
        kubernetes.add_toleration(task, one.key, one.operator, one.value, one.effect, one.seconds)
    for one in said.node_affinity or ():
        wanted = [each.model_dump() for each in one.expressions]
        kubernetes.add_node_affinity(task, match_expressions=wanted, weight=one.weight)


def configured(said: RunSettings):
    """Return kfp's configuration of a pipeline with what is said of its runs."""
    space, ttl = said.workspace, said.ttl
    workspace = None
    if space:
        patch = {"storageClassName": space.storage_class} if space.storage_class else {}
        if space.access_modes:
            patch["accessModes"] = list(space.access_modes)
        workspace = dsl.WorkspaceConfig(space.size, dsl.KubernetesWorkspaceConfig(patch))
    kept = {f"ttl_seconds_after_{kfp}": ttl and getattr(ttl, ours) for ours, kfp in TIMES.items()}
    return dsl.PipelineConfig(
        workspace=workspace,
        active_deadline_seconds=said.deadline and seconds(said.deadline),
        **{name: value and seconds(value) for name, value in kept.items()},
    )


TIMES = {"finished": "finished", "succeeded": "success", "failed": "failure"}
