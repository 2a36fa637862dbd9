"""A compiled pipeline with settings for a cluster runs on a laptop all the same, from the same cache."""

import pytest
import yaml

from cd4ml.adapters.kubeflow import run_local
from cd4ml.adapters.kubeflow.task_settings import rendered
from cd4ml.problem.kubernetes import Kubernetes
from tests.adapters.test_task_settings import RUN, WHOLE
from tests.adapters.tiny_pipeline import compile_tiny

pytestmark = [pytest.mark.loop, pytest.mark.xdist_group("kubeflow")]


def test_a_local_run_takes_no_notice_of_settings(tmp_path):
    plain = compile_tiny(tmp_path)
    first = run_local(plain, {"what": "x"}, tmp_path / "out")
    whole = {name: value for name, value in WHOLE.items() if name != "env"}
    (tmp_path / "set.yaml").write_text(
        rendered(plain, Kubernetes.model_validate({"defaults": whole, "runs": RUN}))
    )
    assert (tmp_path / "set.yaml").read_text() != plain.read_text()
    second = run_local(tmp_path / "set.yaml", {"what": "x"}, tmp_path / "out")
    assert second.parameters("judge") == first.parameters("judge") == {"Output": "accept"}
    # The same content: what may be cached is taken from the run without settings.
    searches = [task for task in second.tasks if task.name == "search"]
    assert len(searches) == 3
    assert all(task.cached for task in searches)
    documents = list(yaml.safe_load_all((tmp_path / "set.yaml").read_text()))
    assert documents[1]["platforms"]["kubernetes"]["pipelineConfig"]["workspace"]["size"] == "20Gi"
