"""What every task of a pipeline has on a cluster; ignored where a pipeline runs locally."""

from typing import Any

from kfp import kubernetes

__all__ = ["STORE_CONFIG", "STORE_SECRET", "on_cluster"]

STORE_SECRET = "cd4ml-store"  # noqa: S105 - the Secret's name, not a secret
"""Kubernetes Secret with the keys of the object store. Optional: a store may need none."""

STORE_CONFIG = "cd4ml-store"
"""Kubernetes ConfigMap with the address of the object store. Optional."""

_SECRET_KEYS = {
    "access-key-id": "AWS_ACCESS_KEY_ID",
    "secret-access-key": "AWS_SECRET_ACCESS_KEY",
    "session-token": "AWS_SESSION_TOKEN",
    "signing-key": "CD4ML_SIGNING_KEY",
}
_CONFIG_KEYS = {"endpoint": "CD4ML_S3_ENDPOINT", "region": "AWS_REGION"}
_USER = 1000


def on_cluster(task: Any, name: str, *, cores: float = 1, gibibytes: int = 2, cached: bool = True) -> Any:
    """Name a task for the dashboard and say what its pod gets; return the task.

    Parameters
    ----------
    cores, gibibytes : number
        Limits of processor and memory; half of them are requested.
    cached : bool
        Whether the result of the same inputs may be taken again.
    """
    task.set_display_name(name).set_caching_options(cached)
    task.set_cpu_request(str(cores / 2)).set_cpu_limit(str(cores))
    task.set_memory_request(f"{gibibytes * 512}Mi").set_memory_limit(f"{gibibytes}Gi")
    kubernetes.use_secret_as_env(task, STORE_SECRET, _SECRET_KEYS, optional=True)
    kubernetes.use_config_map_as_env(task, STORE_CONFIG, _CONFIG_KEYS, optional=True)
    kubernetes.set_security_context(task, run_as_user=_USER, run_as_group=_USER, run_as_non_root=True)
    return task
