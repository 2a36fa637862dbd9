"""Compile the pipelines: `python -m pipelines [--image IMAGE] [--out DIR]`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.compiled import pinned
from cd4ml.errors import UsageError

__all__ = ["COMPILED", "IMAGE_VARIABLE", "add_image", "pipelines", "use_image"]

COMPILED = Path(__file__).parent.parent / "src" / "cd4ml" / "compiled"
"""Where the compiled pipelines are committed; they are installed from there."""

IMAGE_VARIABLE = "CD4ML_IMAGE"
"""As in `components._base`, which reads it when the first component is imported."""


def add_image(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option --image."""
    parser.add_argument(
        "--image",
        default=os.environ.get(IMAGE_VARIABLE, ""),
        help=f"image of all tasks, with a version or a digest; {IMAGE_VARIABLE} by default",
    )


def use_image(parser: argparse.ArgumentParser, image: str) -> None:
    """Let all components that are imported from now on have this image; "" keeps the default."""
    if not image:
        return
    try:
        os.environ[IMAGE_VARIABLE] = pinned(image)
    except UsageError as error:
        parser.error(str(error))


def pipelines() -> dict[str, Any]:
    """Return every pipeline by the name of its file."""
    from pipelines.delivery import delivery
    from pipelines.training import training

    return {"delivery": delivery, "training": training}


def main(argv: list[str]) -> None:
    """Compile what the arguments ask for. The same code gives the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Compile the pipelines.")
    add_image(parser)
    parser.add_argument("--out", type=Path, default=COMPILED, help="folder for the YAML files")
    given = parser.parse_args(argv)
    use_image(parser, given.image)
    from kfp import compiler

    given.out.mkdir(parents=True, exist_ok=True)
    for name, pipeline in pipelines().items():
        file = given.out / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
