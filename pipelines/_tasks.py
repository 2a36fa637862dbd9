"""What every task of a pipeline has on a cluster; ignored where a pipeline runs locally."""

from typing import Any

from kfp import kubernetes

__all__ = [
    "SIGNING_SECRET",
    "SIZES",
    "STORE_CONFIG",
    "STORE_SECRET",
    "on_cluster",
    "with_retries",
    "with_signing_key",
    "with_store",
]

STORE_SECRET = "cd4ml-store"  # noqa: S105 - the Secret's name, not a secret
"""Kubernetes Secret with the keys of the object store. Optional: a role of the machine may do."""

STORE_CONFIG = "cd4ml-store"
"""Kubernetes ConfigMap with the address of the object store. Optional."""

SIGNING_SECRET = "cd4ml-signing"  # noqa: S105 - the Secret's name, not a secret
"""Kubernetes Secret with the key that bundles are signed with. Optional: bundles are unsigned without."""

_STORE_KEYS = {
    "access-key-id": "AWS_ACCESS_KEY_ID",
    "secret-access-key": "AWS_SECRET_ACCESS_KEY",
    "session-token": "AWS_SESSION_TOKEN",
}
_CONFIG_KEYS = {"endpoint": "CD4ML_S3_ENDPOINT", "region": "AWS_REGION", "verify-key": "CD4ML_VERIFY_KEY"}
_SIGNING_KEYS = {"signing-key": "CD4ML_SIGNING_KEY"}
_USER = 1000
_RETRIES = 3

SIZES = {"small": (1, 2), "medium": (2, 8), "large": (4, 8)}
"""Cores and gibibytes of memory."""


def on_cluster(task: Any, name: str, *, size: str = "small", cached: bool = True) -> Any:
    """Name a task for the dashboard and say what its pod gets; return the task.

    Parameters
    ----------
    size : {"small", "medium", "large"}
        Limits of processor and memory, see `SIZES`; half of them are requested.
    cached : bool
        Whether the result of the same inputs may be taken again.
    """
    cores, gibibytes = SIZES[size]
    task.set_display_name(name).set_caching_options(cached)
    task.set_cpu_request(str(cores / 2)).set_cpu_limit(str(cores))
    task.set_memory_request(f"{gibibytes * 512}Mi").set_memory_limit(f"{gibibytes}Gi")
    kubernetes.set_security_context(task, run_as_user=_USER, run_as_group=_USER, run_as_non_root=True)
    return task


def with_retries(task: Any) -> Any:
    """Let a task that may be run twice be tried again when it fails, on a cluster. Return the task."""
    return task.set_retry(_RETRIES, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")


def with_store(task: Any) -> Any:
    """Let a task reach the object store: only those that need it have its keys. Return the task."""
    kubernetes.use_secret_as_env(task, STORE_SECRET, _STORE_KEYS, optional=True)
    kubernetes.use_config_map_as_env(task, STORE_CONFIG, _CONFIG_KEYS, optional=True)
    return task


def with_signing_key(task: Any) -> Any:
    """Let a task sign. Return the task."""
    kubernetes.use_secret_as_env(task, SIGNING_SECRET, _SIGNING_KEYS, optional=True)
    return task
