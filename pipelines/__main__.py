"""Compile the pipelines: `python -m pipelines [--image IMAGE] [--out DIR]`."""

import argparse
import os
import sys
from pathlib import Path

__all__ = ["COMPILED", "compile_all"]

COMPILED = Path(__file__).parent.parent / "src" / "cd4ml" / "compiled"
"""Where the compiled pipelines are committed; they are installed from there."""


def compile_all(folder: Path) -> list[Path]:
    """Compile every pipeline into `folder`; return the files. The same code gives the same bytes."""
    from kfp import compiler

    from pipelines.training import training

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, pipeline in {"training": training}.items():
        file = folder / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        files.append(file)
    return files


def main(argv: list[str]) -> None:
    """Read the arguments and compile."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Compile the pipelines.")
    parser.add_argument("--image", default="", help="image of all tasks; pin a version or a digest")
    parser.add_argument("--out", type=Path, default=COMPILED, help="folder for the YAML files")
    given = parser.parse_args(argv)
    if given.image:
        os.environ["CD4ML_IMAGE"] = given.image  # read when the components are imported
    for file in compile_all(given.out):
        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
