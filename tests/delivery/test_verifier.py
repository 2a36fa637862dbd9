"""The replay of a candidate's holdout: beside the controller, and at the right address."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np

from cd4ml.adapters.manifest import bundle_id
from cd4ml.delivery.plane import ObservedService, ObservedVariant
from cd4ml.delivery.verifier import FORCED, EndpointVerifier, Verified, address_of
from cd4ml.domain.rollout.decide import Verification
from cd4ml.domain.rollout.state import Rollout, Target
from cd4ml.models.runtime import holdout_rows
from tests.models.bundles import bundle


@contextmanager
def gateway(shift: float, hosts: set[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve what the holdout of `people` says, plus a shift; note which variant and hosts were asked for."""
    folder = bundle("people")
    rows = [json.dumps(row, sort_keys=True) for row in holdout_rows(folder)]
    values = np.load(folder / "holdout" / "prediction.npy").tolist()
    known = dict(zip(rows, values, strict=True))
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            asked.append(f"{self.path} {self.headers.get(FORCED)}")
            if hosts is not None:
                hosts.add(str(self.headers["Host"]))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = [known[json.dumps(row, sort_keys=True)] + shift for row in body["instances"]]
            self._answer({"predictions": found, "decisions": [int(one >= 0.5) for one in found]})

        def _answer(self, document: dict[str, object]) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def _rollout() -> Rollout:
    folder = bundle("people")
    new = Target("people@2", "2", bundle_id(folder), str(folder))
    return Rollout("r1", "persons", new, Target("people@1", "1", "a" * 64))


def _result(verifier: EndpointVerifier, observed: ObservedService) -> Verified:
    end = time.monotonic() + 30
    while (found := verifier.verify(_rollout(), observed)).result is Verification.PENDING:
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def _verifier() -> EndpointVerifier:
    return EndpointVerifier(lambda target: Path(target.location), timeout_seconds=5)


def test_an_endpoint_that_answers_as_judged_passes_through_the_gateway() -> None:
    with gateway(0.0) as (url, asked):
        verifier = _verifier()
        found = _result(verifier, ObservedService("persons", url=url))
        assert found.result is Verification.PASSED, found.reasons
        count = len(asked)
        assert set(asked) == {"/v1/models/persons:predict canary"}
        verifier.verify(_rollout(), ObservedService("persons", url=url))
        assert len(asked) == count  # what is known is not asked again


def test_an_endpoint_that_answers_otherwise_fails_with_the_first_difference() -> None:
    with gateway(0.25) as (url, _):
        found = _result(_verifier(), ObservedService("persons", url=url))
    assert found.result is Verification.FAILED
    assert "First row 0" in found.reasons[0]


def test_an_endpoint_that_cannot_be_asked_is_asked_again_and_fails_at_last() -> None:
    found = _result(_verifier(), ObservedService("persons", url="http://127.0.0.1:9"))
    assert found.result is Verification.FAILED
    assert found.reasons[0].startswith("asked 5 times without a usable answer: expected an answer from")


def test_the_candidate_is_asked_at_its_own_address_where_it_has_one() -> None:
    own = ObservedVariant("canary", url="http://127.0.0.1:7/")
    observed = ObservedService("a b", url="http://gateway", variants=(own,))
    assert address_of(observed) == ("http://127.0.0.1:7/v1/models/a%20b", {})
    assert address_of(ObservedService("shop", url="http://gateway"), "v2") == (
        "http://gateway/v2/models/shop",
        {FORCED: "canary"},
    )


def test_who_is_outside_of_a_cluster_asks_through_a_gateway_and_names_the_candidates_host() -> None:
    own = ObservedVariant("canary", url="http://latest-m-predictor.models.svc.cluster.local")
    hosts: set[str] = set()
    with gateway(0.0, hosts) as (url, asked):
        verifier = EndpointVerifier(
            lambda target: Path(target.location), timeout_seconds=5, through=f"{url}/"
        )
        found = _result(verifier, ObservedService("persons", url="http://elsewhere", variants=(own,)))
    assert found.result is Verification.PASSED, found.reasons
    assert hosts == {"latest-m-predictor.models.svc.cluster.local"}
    assert set(asked) == {"/v1/models/persons:predict None"}
