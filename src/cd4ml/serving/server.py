"""`python -m cd4ml.serving.server`: KServe's ModelServer with one bundle, until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kserve import ModelServer
from kserve.protocol.rest.server import RESTServer

from cd4ml.errors import Cd4mlError
from cd4ml.serving.predictor import BundlePredictor
from cd4ml.serving.requests import Limits
from cd4ml.serving.routes import build_routes

__all__ = ["Server", "main"]

_LOG = logging.getLogger("cd4ml.serving")


class _Rest(RESTServer):  # type: ignore[misc]
    """KServe's HTTP server with the routes of bundles before its own, in each worker."""

    def _register_endpoints(self, app: Any) -> None:
        models = {
            name: model
            for name, model in self.dataplane.model_registry.get_models().items()
            if isinstance(model, BundlePredictor)
        }
        app.router.routes[0:0] = build_routes(models)
        super()._register_endpoints(app)


class Server(ModelServer):  # type: ignore[misc]
    """KServe's ModelServer on a host of choice.

    Parameters
    ----------
    host : str
        Address to listen on; KServe itself knows all addresses alone.
    workers : int
        Processes; each loads and verifies the bundle.
    grace_seconds : int
        How long requests under way are waited for at the end.
    """

    def __init__(self, host: str, http_port: int, workers: int = 1, grace_seconds: int = 30) -> None:
        super().__init__(
            http_port=http_port,
            workers=workers,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=grace_seconds,
        )
        self._host = host

    async def _serve(self) -> None:
        # KServe makes its HTTP server in start() and takes no other: it is fitted before it begins here.
        several = self._rest_multiprocess_server
        rest = several._rest_server if several else self._rest_server
        rest.__class__ = _Rest
        rest.config.host = self._host
        rest.config.access_log = False
        await super()._serve()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a bundle until SIGTERM, which lets requests under way end; return the exit code."""
    options = _parser().parse_args(argv)
    limits = Limits(options.max_body_bytes, options.max_body_seconds, options.max_rows)
    try:
        folder = Path(options.bundle).resolve()
        model = BundlePredictor(options.name, folder, version=options.model_version, limits=limits)
    except Cd4mlError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    signature = model.served.bundle.signature
    if signature is not None and signature.warning:
        _LOG.warning("%s", signature.warning)
    Server(options.host, options.http_port, options.workers, options.grace_seconds).start([model])
    return 0


def _positive(text: str) -> int:
    if (found := int(text)) < 1:
        raise ValueError
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cd4ml.serving.server", description="Serve a bundle.")
    parser.add_argument("--bundle", required=True, help="folder of the bundle")
    parser.add_argument("--name", required=True, help="as in /v1/models/NAME:predict")
    parser.add_argument("--model-version", default="", help="what answers call it (default: of the id)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback alone)")
    parser.add_argument("--http-port", type=_positive, default=8080)
    parser.add_argument("--workers", type=_positive, default=1, help="processes")
    parser.add_argument(
        "--grace-seconds", type=_positive, default=30, help="for requests under way at the end"
    )
    defaults = Limits()
    parser.add_argument("--max-body-bytes", type=_positive, default=defaults.body_bytes)
    parser.add_argument("--max-body-seconds", type=float, default=defaults.body_seconds)
    parser.add_argument("--max-rows", type=_positive, default=None, help="fewer than the contract says")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
