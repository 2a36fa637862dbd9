"""A bundle in another form: inside of an application, as plain ONNX, for a stock runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cd4ml.errors import UsageError

__all__ = ["ImageRequest", "embed_bundle", "portable_bundle", "stock_bundle"]


@dataclass(frozen=True)
class ImageRequest:
    """How an image is to be made.

    Attributes
    ----------
    lock : Path
        Requirements with hashes.
    base_image : str
        "" is the default of `models.embed.image`.
    context_only : bool
        Write what it is built of, and build nothing.
    builders : sequence of str, optional
        What may build it, in this order.
    """

    lock: Path
    base_image: str = ""
    context_only: bool = False
    builders: Sequence[str] | None = None


def embed_bundle(
    bundle: Path, out: Path, *, package: str = "", version: str = "", image: ImageRequest | None = None
) -> dict[str, Any]:
    """Write a wheel with a bundle inside, and an image with it where one is asked for.

    Parameters
    ----------
    out : Path
        A folder; the image's context goes to `out/image`.

    Returns
    -------
    dict
        `wheel`, `package`, `version`, `bundle`, `requirements`, `parity`; with an image `context`, `command`
        and `image` (its tag, "" when it was not built).

    Raises
    ------
    GateRejected
        If the package does not predict what was judged.
    ServiceError
        If the image cannot be built here; wheel and context are there.
    """
    from cd4ml.models.embed.image import BASE_IMAGE, BUILDERS, build_command, build_image, write_context
    from cd4ml.models.embed.wheel import build_wheel

    if image is not None and not image.lock.is_file():
        raise UsageError(
            f"an image needs locked requirements with hashes; found no '{image.lock}'. Give the file with"
            " --lock"
        )
    if image is not None:
        _replaceable(out / "image", "Dockerfile")
    wheel = build_wheel(bundle, out, package=package, version=version)
    found: dict[str, Any] = {
        "wheel": str(wheel.path),
        "package": wheel.naming.package,
        "version": wheel.naming.version,
        "bundle": wheel.naming.bundle_id,
        "requirements": dict(wheel.requirements),
        "parity": wheel.parity.to_dict(),
    }
    if image is not None:
        context = write_context(wheel, out / "image", image.lock, image.base_image or BASE_IMAGE)
        tag = ""
        if not image.context_only:
            tag = build_image(wheel, context, BUILDERS if image.builders is None else image.builders)
        command = " ".join(build_command(wheel, context))
        found |= {"context": str(context), "command": command, "image": tag}
    return found


def portable_bundle(bundle: Path, out: Path) -> dict[str, Any]:
    """Write the ONNX files of a bundle with their contract, usable without cd4ml.

    Returns
    -------
    dict
        `folder`, `parity`, `inputs` ("rows" where features are folded in, else "features") and `why`.

    Raises
    ------
    GateRejected
        If plain ONNX Runtime does not predict what was judged.
    UsageError
        If the bundle treats predictions by group.
    """
    from cd4ml.models.portable import write_portable

    _replaceable(out, "portable.json")
    found = write_portable(bundle, out)
    return {"folder": str(out), **asdict(found), "parity": found.parity.to_dict()}


def stock_bundle(
    bundle: Path, out: Path, *, runtime: str, scikit_learn: str = "", python: Path | None = None
) -> dict[str, Any]:
    """Write a model for a stock runtime; see `models.stock_runtime.write_stock`."""
    from cd4ml.models.stock_runtime import write_stock

    _replaceable(out, "stock.json")
    return write_stock(bundle, out, runtime=runtime, scikit_learn=scikit_learn, python=python)


def _replaceable(out: Path, own: str) -> None:
    """Refuse to replace what is not a folder that was written here before, known by the file `own`."""
    if not out.exists() or (out.is_dir() and ((out / own).is_file() or not any(out.iterdir()))):
        return
    raise UsageError(f"expected a new or empty folder, or one with {own}; '{out}' has something else")
