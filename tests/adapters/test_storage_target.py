"""The store of another environment has an endpoint and credentials of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage, S3Storage, open_store
from cd4ml.adapters.storage.target import PREFIX, open_target, target_account
from cd4ml.errors import UsageError
from cd4ml.steps.promote import promote
from tests.adapters.s3_server import CREDENTIALS, environment, mock_credentials, new_bucket
from tests.steps.promotions import NAME, NO_KEYS, lines, pushed

_TARGET = {f"{PREFIX}{name}": None for name in (*CREDENTIALS, "S3_ENDPOINT")}
SECRET = "wJalrXUtnFEMI"


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    with environment(**_TARGET, **NO_KEYS):
        yield


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An endpoint that knows nothing and remembers who asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(404)
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            self.wfile.write(b"<Error><Code>NoSuchKey</Code></Error>")

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_requests_are_signed_with_the_key_of_the_target(listener: tuple[str, list[str]]) -> None:
    endpoint, asked = listener
    theirs = {
        f"{PREFIX}AWS_ACCESS_KEY_ID": "THEIRS",
        f"{PREFIX}AWS_SECRET_ACCESS_KEY": SECRET,
        f"{PREFIX}AWS_REGION": "eu-central-1",
        f"{PREFIX}S3_ENDPOINT": endpoint,
    }
    ours = mock_credentials() | {"AWS_ACCESS_KEY_ID": "OURS", "CD4ML_S3_ENDPOINT": endpoint}
    with environment(**theirs, **ours):
        assert open_target("s3://models/cd4ml").read_versioned("environment.json") is None
        assert open_store("s3://models/cd4ml").read_versioned("environment.json") is None
    assert len(asked) == 2
    assert "Credential=THEIRS/" in asked[0] and "/eu-central-1/" in asked[0]
    assert "Credential=OURS/" in asked[1] and "/us-east-1/" in asked[1]
    assert SECRET not in "".join(asked)


def test_without_variables_of_its_own_the_target_is_opened_with_ours(tmp_path: Path) -> None:
    assert target_account() is None
    assert isinstance(open_target(str(tmp_path)), FolderStorage)
    with environment(CD4ML_S3_ENDPOINT="http://127.0.0.1:1"):
        storage = open_target("s3://models")
    assert isinstance(storage, S3Storage) and storage.endpoint == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("there", "missing"),
    [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
)
def test_half_of_the_credentials_are_refused_and_not_shown(there: str, missing: str) -> None:
    with (
        environment(**{f"{PREFIX}{there}": SECRET}),
        pytest.raises(UsageError, match=PREFIX + missing) as caught,
    ):
        open_target("s3://models")
    assert SECRET not in str(caught.value)


def test_an_account_does_not_show_its_secrets() -> None:
    with environment(**{f"{PREFIX}AWS_ACCESS_KEY_ID": "KEY", f"{PREFIX}AWS_SECRET_ACCESS_KEY": SECRET}):
        assert SECRET not in repr(target_account())


@pytest.mark.s3
def test_a_bundle_goes_from_bucket_to_bucket_once(endpoint: str, tmp_path: Path) -> None:
    source, target = new_bucket(endpoint), new_bucket(endpoint)
    version = pushed(source, tmp_path)
    urls = [f"s3://{one.bucket}/{one.prefix.rstrip('/')}" for one in (source, target)]
    with environment(CD4ML_S3_ENDPOINT=endpoint):
        done = promote(NAME, "latest", urls[1], store=urls[0], by="ann")
        again = promote(NAME, "latest", urls[1], store=urls[0], by="ann")
    assert (done.state, again.state, again.to_version) == ("promoted", "unchanged", 1)
    assert done.to == f"{urls[1]}/bundles/{version.bundle}"
    assert Registry(target).get(NAME, "challenger").bundle == version.bundle
    assert len(lines(target, "promotion")) == len(lines(source, "promoted")) == 1
