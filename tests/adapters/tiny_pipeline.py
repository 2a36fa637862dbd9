"""A pipeline with all that the training pipeline has: an uncached start, a plan, a loop, a gate, an if."""

import functools
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

component = functools.partial(
    dsl.component, base_image="example.org/cd4ml-python:1", install_kfp_package=False
)


@component
def mark(what: str, out: dsl.Output[dsl.Artifact]) -> dict[str, str]:
    from pathlib import Path

    print("said by mark")
    Path(out.path).write_text(what)
    return {"what": what}


@component
def plan(source: dsl.Input[dsl.Artifact], names: list[str]) -> list[dict[str, Any]]:
    return [{"name": name, "depth": 3} for name in names]


@component
def search(
    item: dict[str, Any],
    source: dsl.Input[dsl.Artifact],
    out: dsl.Output[dsl.Artifact],
    scores: dsl.Output[dsl.Metrics],
):
    import os
    import time
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics

    if os.environ.get("TINY_WAIT"):
        Path(os.environ["TINY_WAIT"], f"waiting-{os.getpid()}").touch()
        time.sleep(60)
    Path(out.path).mkdir()
    Path(out.path, "result").write_text(item["name"] + Path(source.path).read_text())
    write_metrics(scores, {"threads": float(os.environ["OMP_NUM_THREADS"]), "bad": float("nan")})


@component
def judge(results: dsl.Input[list[dsl.Artifact]], mood: str, table: dsl.Output[dsl.Artifact]) -> str:
    import os
    import signal
    from pathlib import Path

    from cd4ml.errors import ContractError

    if mood == "refuse":
        raise ContractError("expected 5 columns in 'items', found 6; drop one")
    if mood == "break":
        raise KeyError("nothing here")
    if mood == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(table.path).write_text(" ".join(Path(one.path, "result").read_text() for one in results))
    return mood


@component
def register(what: str) -> dict[str, str]:
    return {"registered": what}


@dsl.pipeline(name="tiny")
def tiny(what: str, mood: str = "accept", names: list[str] = ["a", "b", "c"]):  # noqa: B006 - a literal for kfp
    marked = mark(what=what).set_caching_options(False)
    planned = plan(source=marked.outputs["out"], names=names)
    with dsl.ParallelFor(planned.output) as item:
        found = search(item=item, source=marked.outputs["out"])
    judged = judge(results=dsl.Collected(found.outputs["out"]), mood=mood)
    with dsl.If(judged.outputs["Output"] != "reject"):
        register(what=what).set_caching_options(False)


def compile_tiny(folder: Path) -> Path:
    file = folder / "tiny.yaml"
    compiler.Compiler().compile(tiny, str(file))
    return file
