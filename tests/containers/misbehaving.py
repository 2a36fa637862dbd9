"""A pipeline of two tasks, the second of which does what it is told, be it forbidden."""

import functools
from pathlib import Path


def compile_misbehaving(image: str, folder: Path) -> Path:
    """Compile the pipeline for an image and return its file."""
    from kfp import compiler, dsl

    component = functools.partial(dsl.component, base_image=image, install_kfp_package=False)

    @component
    def first(text: str, out: dsl.Output[dsl.Artifact]):
        from pathlib import Path

        Path(out.path).write_text(text)

    @component
    def second(
        before: dsl.Input[dsl.Artifact], code: str, data: str, store: str, out: dsl.Output[dsl.Artifact]
    ) -> str:
        from pathlib import Path

        found = {"before": before.path, "data": data, "store": store, "out": out.path, "said": ""}
        exec(code, found)
        Path(out.path).write_text("done")
        return found["said"]

    @dsl.pipeline(name="misbehaving")
    def misbehaving(code: str, data: str, store: str):
        made = first(text="made before")
        second(before=made.outputs["out"], code=code, data=data, store=store)

    return _compiled(compiler, misbehaving, folder)


def compile_foreign(image: str, folder: Path) -> Path:
    """Compile a pipeline of one container without kfp, which does as a shell is told."""
    from kfp import compiler, dsl

    @dsl.container_component
    def shell(code: str):
        return dsl.ContainerSpec(image=image, command=["sh", "-c"], args=[code])

    @dsl.pipeline(name="foreign")
    def foreign(code: str):
        shell(code=code)

    return _compiled(compiler, foreign, folder)


def _compiled(compiler: object, pipeline: object, folder: Path) -> Path:
    file = folder / f"{pipeline.name}.yaml"  # type: ignore[attr-defined]
    compiler.Compiler().compile(pipeline, str(file))  # type: ignore[attr-defined]
    return file
