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
    import subprocess
    import sys
    import time
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics

    folder = os.environ.get("TINY_WAIT")
    if folder:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(out.path).mkdir()
        Path(out.path, "half").touch()
        Path(folder, f"waiting-{os.getpid()}").touch()
        Path(folder, f"child-{child.pid}").touch()
        time.sleep(60)
    Path(out.path).mkdir()
    Path(out.path, "result").write_text(item["name"] + Path(source.path).read_text())
    heavy = {"google.auth", "kfp.client.client", "kubernetes", "numpy", "requests"} & sys.modules.keys()
    numbers = {
        "threads": float(os.environ["OMP_NUM_THREADS"]),
        "bad": float("nan"),
        "heavy": float(len(heavy)),
    }
    write_metrics(scores, numbers)


@component
def judge(results: dsl.Input[list[dsl.Artifact]], mood: str, table: dsl.Output[dsl.Artifact]) -> str:
    import os
    import signal
    from pathlib import Path

    from cd4ml.errors import ContractError

    class ForeignError(ContractError):
        """Known to this task alone."""

    if mood == "refuse":
        raise ContractError("expected 5 columns in 'items', found 6; drop one")
    if mood == "refuse by a class of its own":
        raise ForeignError("expected rain, found snow")
    if mood == "break":
        raise KeyError("nothing here")
    if mood == "break without a word":
        raise MemoryError
    if mood == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mood == "leave":
        os._exit(0)
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


@component
def fail(what: str, tries: str):
    from pathlib import Path

    from cd4ml.errors import ContractError

    with Path(tries).open("a") as stream:
        stream.write("tried ")
    raise ContractError(what)


@dsl.pipeline(name="tidied")
def tidied(what: str, tries: str):
    left = register(what=what).set_caching_options(False)
    with dsl.ExitHandler(left):
        failing = fail(what=what, tries=tries).set_retry(3, backoff_duration="60s")
        register(what=what).after(failing)


def compile_tidied(folder: Path) -> Path:
    file = folder / "tidied.yaml"
    compiler.Compiler().compile(tidied, str(file))
    return file
