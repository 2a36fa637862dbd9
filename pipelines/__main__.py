"""Compile the pipelines: `python -m pipelines [--image IMAGE] [--out DIR]`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["COMPILED", "pipelines"]

COMPILED = Path(__file__).parent.parent / "src" / "cd4ml" / "compiled"
"""Where the compiled pipelines are committed; they are installed from there."""


def pipelines() -> dict[str, Any]:
    """Return every pipeline by the name of its file."""
    from pipelines.training import training

    return {"training": training}


def main(argv: list[str]) -> None:
    """Compile what the arguments ask for. The same code gives the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Compile the pipelines.")
    parser.add_argument("--image", default="", help="image of all tasks; pin a version or a digest")
    parser.add_argument("--out", type=Path, default=COMPILED, help="folder for the YAML files")
    given = parser.parse_args(argv)
    if given.image:
        os.environ["CD4ML_IMAGE"] = given.image  # read when the components are imported
    from kfp import compiler

    given.out.mkdir(parents=True, exist_ok=True)
    for name, pipeline in pipelines().items():
        file = given.out / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
