"""`python -m cd4ml.serving.server`: KServe's ModelServer with one bundle, until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

# KServe and prometheus_client are imported in functions: how they count is settled before.
from cd4ml.errors import Cd4mlError
from cd4ml.serving.logs import log_as_json
from cd4ml.serving.requests import Limits
from cd4ml.serving.telemetry import count_across_workers
from cd4ml.serving.work import Capacity

if TYPE_CHECKING:
    from cd4ml.serving.predictor import BundlePredictor

__all__ = ["main"]

_LOG = logging.getLogger("cd4ml.serving")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a bundle until SIGTERM, which lets requests under way end; return the exit code."""
    options = _parser().parse_args(argv)
    log_as_json()
    try:
        with ExitStack() as stack:
            if options.workers > 1:
                folder = stack.enter_context(TemporaryDirectory(prefix="cd4ml-metrics-"))
                count_across_workers(Path(folder))
            return _serve(options)
    except Cd4mlError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _serve(options: argparse.Namespace) -> int:
    from cd4ml.serving.rest import Server, Settings

    model = _model(options)
    signature = model.served.bundle.signature
    if signature is not None and signature.warning:
        _LOG.warning("%s", signature.warning)
    settings = Settings(
        host=options.host,
        http_port=options.http_port,
        workers=options.workers,
        grace_seconds=options.grace_seconds,
        head_seconds=options.max_body_seconds,
        capacity=Capacity(options.max_concurrent, options.timeout_seconds),
        follow=options.follow.resolve() if options.follow else None,
        events=options.events.resolve() if options.events else None,
        access_log=options.access_log,
    )
    Server(settings).start([model])
    return 0


def _model(options: argparse.Namespace) -> BundlePredictor:
    from cd4ml.adapters.served_file import ServedFile
    from cd4ml.serving.predictor import BundlePredictor

    bundle, version, history = options.bundle, options.model_version, options.history
    if options.follow:
        desired = ServedFile(options.follow).read()
        bundle, version = Path(desired.bundle), desired.version
        history = Path(desired.history) if desired.history else None
    return BundlePredictor(
        options.name,
        bundle.resolve(),
        version=version,
        history=history.resolve() if history else None,
        variant=options.variant,
        limits=Limits(options.max_body_bytes, options.max_body_seconds, options.max_rows),
    )


def _positive(text: str) -> int:
    if (found := int(text)) < 1:
        raise ValueError
    return found


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 < found < math.inf:
        raise ValueError
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cd4ml.serving.server", description="Serve a bundle.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", type=Path, help="folder of the bundle")
    what.add_argument("--follow", type=Path, help="file that says what to serve, now and later")
    parser.add_argument("--name", required=True, help="as in /v1/models/NAME:predict")
    parser.add_argument("--model-version", default="", help="what answers call it (default: of the id)")
    parser.add_argument("--history", type=Path, help="folder of a history table newer than the bundle's")
    parser.add_argument("--variant", default="stable", help="stable, canary, shadow: as metrics call it")
    parser.add_argument("--events", type=Path, help="folder for prediction events (default: none)")
    parser.add_argument("--access-log", action="store_true", help="a log line for each prediction")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback alone)")
    parser.add_argument("--http-port", type=_positive, default=8080)
    parser.add_argument("--workers", type=_positive, default=1, help="processes")
    _add_limits(parser)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits, capacity = Limits(), Capacity()
    parser.add_argument(
        "--grace-seconds", type=_positive, default=30, help="for requests under way at the end"
    )
    parser.add_argument("--max-body-bytes", type=_positive, default=limits.body_bytes)
    parser.add_argument("--max-body-seconds", type=_seconds, default=limits.body_seconds)
    parser.add_argument("--max-rows", type=_positive, default=None, help="fewer than the contract says")
    parser.add_argument(
        "--max-concurrent", type=_positive, default=capacity.requests, help="requests at once, a worker"
    )
    parser.add_argument(
        "--timeout-seconds", type=_seconds, default=capacity.seconds, help="for one prediction"
    )


if __name__ == "__mp_main__":  # a worker, before it imports what it is to do
    log_as_json()
if __name__ == "__main__":
    raise SystemExit(main())
