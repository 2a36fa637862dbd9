"""The process that walks a pipeline with kfp.local."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.cache import ContentCache
from cd4ml.adapters.kubeflow.events import die_with_stdin

__all__ = ["main"]


def _runner(name: str) -> Any:
    from kfp import local

    return local.SubprocessRunner(use_venv=False) if name == "subprocess" else local.DockerRunner()


def main(request_file: Path) -> None:
    """Run the pipeline that the request describes; an error ends the process with a traceback in its log."""
    die_with_stdin()
    # kfp.local replaces the word python3 by sys.executable wherever it stands: in paths and parameters too.
    # The command already has the interpreter in full, so the word is made to stand for itself.
    sys.executable = "python3"
    request = json.loads(request_file.read_text())
    folder = Path(request["folder"])
    from kfp import components, local
    from kfp.local import cache

    local.init(
        _runner(request["runner"]),
        pipeline_root=str(folder / "tasks"),
        workspace_root=str(folder / "workspace"),
        enable_caching=True,
        cache_root=request["cache"],
    )
    contents = ContentCache(Path(request["cache"]), Path(request["events"]))
    cache.get_local_cache = lambda: contents
    logging.captureWarnings(True)
    components.load_component_from_text(request["pipeline"])(**request["arguments"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
