"""The process that walks a pipeline with kfp.local."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.cache import ContentCache
from cd4ml.adapters.kubeflow.events import die_with_stdin
from cd4ml.adapters.kubeflow.folders import TASKS

__all__ = ["main"]


def _runner(request: Mapping[str, Any], run: Path) -> Any:
    if request["runner"] == "docker":
        from cd4ml.adapters.kubeflow.containers import docker_runner

        return docker_runner(run, request["arguments"])
    from kfp import local

    return local.SubprocessRunner(use_venv=False)


def _lifeline(runner: str, run: Path) -> None:
    """End with the process that asked for the run; containers are nobody's children and must be told."""
    if runner == "docker":
        from cd4ml.adapters.kubeflow.containers import remove_containers

        die_with_stdin(functools.partial(remove_containers, run))
    else:
        die_with_stdin()


def main(request_file: Path) -> None:
    """Run the pipeline that the request describes; an error ends the process with a traceback in its log."""
    request, run = json.loads(request_file.read_text()), request_file.parent
    _lifeline(request["runner"], run)
    # kfp.local replaces the word python3 by sys.executable wherever it stands: in paths and parameters too.
    # The command already has the interpreter in full, so the word is made to stand for itself.
    sys.executable = "python3"
    from kfp import components, local
    from kfp.local import cache

    local.init(
        _runner(request, run),
        pipeline_root=str(run / TASKS),
        workspace_root=str(run / "workspace"),
        enable_caching=True,
    )
    contents = ContentCache(run)
    cache.get_local_cache = lambda: contents
    logging.captureWarnings(True)
    components.load_component_from_text(request["pipeline"])(**request["arguments"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
