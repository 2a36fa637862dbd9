"""Kubeflow Pipelines: a compiled pipeline runs here by `run_local`, or on a cluster by `remote`.

`run_local` starts kfp's own local runner in a process of its own, because that runner changes `print`, the
root logger and global settings of the process that it lives in. One request goes in (`local`), one line of
JSON a task comes out (`events`): `orchestrator` is the process that walks the pipeline, `task` the one that
runs a step, `cache` decides what need not run again, `folders` keeps what was made, `containers` is for tasks
in containers. `compiled` reads a pipeline's file; `outputs` is what component bodies write metrics with.

`remote_client` speaks with an API server, as whom `remote_access` says; `remote_versions` puts a pipeline's
version there, `remote` starts and lists runs, `remote_wait` follows one, `remote_schedules` makes them recur.
"""

from cd4ml.adapters.kubeflow.compiled import names, package
from cd4ml.adapters.kubeflow.local import run_local
from cd4ml.adapters.kubeflow.runs import LocalRun, TaskRun

__all__ = ["LocalRun", "TaskRun", "names", "package", "run_local"]
