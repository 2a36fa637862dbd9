"""What only a store in S3 has: a network, credentials, and servers that cannot swap."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from cd4ml.adapters.storage import S3Storage
from cd4ml.errors import ConflictError, IntegrityError, ServiceError, UsageError
from tests.adapters.s3_server import (
    UNANSWERED,
    WRITTEN_UNANSWERED,
    environment,
    mock_credentials,
    new_bucket,
    scripted_endpoint,
)

SECRET = "a-very-secret-secret"
# What a server that honours conditions answers to the probe.
CAPABLE = (200, 412, 200, 412)


def failure(storage: S3Storage) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        storage.put("k", b"1")
    return caught.value


def test_an_endpoint_that_nobody_listens_at_is_told_within_seconds() -> None:
    start = time.monotonic()
    with environment(**mock_credentials() | {"AWS_SECRET_ACCESS_KEY": SECRET}):
        error = failure(S3Storage("bucket", endpoint="http://127.0.0.1:1"))
    assert time.monotonic() - start < 10
    assert "http://127.0.0.1:1" in str(error)
    assert "CD4ML_S3_ENDPOINT" in str(error)
    assert SECRET not in str(error)
    assert error.exit_code == 6


def test_an_endpoint_that_does_not_answer_is_given_up_within_seconds() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, environment(**mock_credentials()):
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        storage = S3Storage("bucket", endpoint=endpoint, timeout_seconds=0.1)
        assert "cannot be reached (ReadTimeoutError)" in str(failure(storage))


def test_missing_credentials_are_named() -> None:
    keys = dict.fromkeys([*mock_credentials(), "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"])
    role = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/role"}
    with environment(**keys, **role, AWS_SHARED_CREDENTIALS_FILE="/nonexistent"):
        error = failure(S3Storage("bucket", endpoint="http://127.0.0.1:1"))
    assert "no credentials" in str(error)
    assert "AWS_SECRET_ACCESS_KEY" in str(error)


def test_a_missing_bucket_is_told_with_the_command_that_makes_it(moto: str) -> None:
    with environment(**mock_credentials()):
        error = failure(S3Storage("never-made", endpoint=moto))
        with pytest.raises(ServiceError, match="does not exist"):
            S3Storage("never-made", endpoint=moto).compare_and_swap("k", b"1", None)
    assert "aws s3 mb s3://never-made" in str(error)


@pytest.mark.s3
def test_wrong_credentials_are_told_and_never_shown() -> None:
    import os

    endpoint = os.environ.get("CD4ML_TEST_S3_ENDPOINT")
    if not endpoint:
        pytest.skip("no S3 server: set CD4ML_TEST_S3_ENDPOINT and the AWS variables")
    bucket = new_bucket(endpoint).bucket
    with environment(AWS_SECRET_ACCESS_KEY=SECRET):
        error = failure(S3Storage(bucket, endpoint=endpoint))
    assert "refused the credentials" in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000",
        "ftp://host",
        "http://host/path",
        "http://host?x=1",
        "http://host:port",
        "http://",
        "http://h:0",
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="CD4ML_S3_ENDPOINT must be"):
        S3Storage("bucket", endpoint=endpoint)


def test_an_endpoint_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as caught:
        S3Storage("bucket", endpoint=f"http://user:{SECRET}@host")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("bucket", ["ab", "Bucket", "a_b_c", "-abc", "x" * 64])
def test_a_bucket_name_that_is_none_is_refused(bucket: str) -> None:
    with pytest.raises(UsageError, match="a bucket's name"):
        S3Storage(bucket)


def test_a_server_that_ignores_if_none_match_is_refused_loudly() -> None:
    with scripted_endpoint() as (endpoint, requests):
        with pytest.raises(UsageError, match="does not honour If-None-Match"):
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)
    assert not [request for request in requests if request.endswith("/k")], "nothing may be written"


def test_a_server_that_ignores_if_match_is_refused_loudly() -> None:
    with scripted_endpoint(200, 412) as (endpoint, _):
        with pytest.raises(UsageError, match="does not honour If-Match"):
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)


def test_a_server_that_refuses_every_etag_is_refused_loudly() -> None:
    with scripted_endpoint(200, 412, 412, 412) as (endpoint, _):
        with pytest.raises(UsageError, match="does not honour If-Match"):
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)


def test_a_server_is_probed_once_and_the_form_of_its_etags_is_remembered() -> None:
    with scripted_endpoint(200, 412, 412, 200, 412) as (endpoint, requests):
        storage = S3Storage("bucket", endpoint=endpoint)
        assert storage.compare_and_swap("k", b"1", None) == "0123"
        probes = len([request for request in requests if "probe" in request])
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123") == "0123"
    assert len([request for request in requests if "probe" in request]) == probes == 6


def test_a_failing_server_is_asked_again_while_the_object_is_as_before() -> None:
    with scripted_endpoint(*CAPABLE, 503, 503) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123") == "0123"
    assert requests.count("PUT /bucket/k") == 3


def test_a_failing_server_whose_object_changed_is_a_conflict() -> None:
    with scripted_endpoint(*CAPABLE, 500) as (endpoint, _), pytest.raises(ConflictError):
        S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "another")


def test_a_server_that_keeps_failing_is_told() -> None:
    with scripted_endpoint(*CAPABLE, *[500] * 9) as (endpoint, requests):
        with pytest.raises(ServiceError, match="failed 5 times"):
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123")
    assert requests.count("PUT /bucket/k") == 5


def test_a_swap_whose_answer_was_lost_is_settled_by_its_mark() -> None:
    with scripted_endpoint(*CAPABLE, WRITTEN_UNANSWERED) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "other") == "0123"
    assert requests.count("PUT /bucket/k") == 1


def test_an_answer_that_was_lost_before_the_write_is_an_error_and_no_conflict() -> None:
    with scripted_endpoint(*CAPABLE, UNANSWERED) as (endpoint, requests):
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123")
    assert not isinstance(caught.value, ConflictError)
    assert requests.count("PUT /bucket/k") == 1


def test_an_object_that_was_changed_in_the_store_is_refused_on_download(moto: str, tmp_path: Path) -> None:
    import io

    with environment(**mock_credentials()):
        storage = new_bucket(moto)
        storage._client.put_object(
            storage.bucket,
            f"{storage.prefix}d/f",
            io.BytesIO(b"x"),
            1,
            metadata={"x-amz-meta-sha256": "0" * 64},
        )
        with pytest.raises(IntegrityError, match="d/f"):
            storage.download("d", tmp_path / "t")
    assert not (tmp_path / "t/f").exists()


class HostileStorage(S3Storage):
    """A server that lists a key outside of what was asked for."""

    def list(self, prefix: str) -> list[str]:
        return [*super().list(prefix), "d/../../evil"]


def test_a_key_of_the_server_that_leaves_the_folder_is_refused(moto: str, tmp_path: Path) -> None:
    with environment(**mock_credentials()):
        storage = new_bucket(moto)
        storage.put("d/f", b"")
        with pytest.raises(UsageError, match="relative path"):
            HostileStorage(storage.bucket, storage.prefix, moto).download("d", tmp_path / "t")
    assert not list(tmp_path.rglob("evil"))


def test_a_file_of_several_parts_arrives_whole(moto: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/big").write_bytes(b"0123456789abcdef" * (11 << 16))
    with environment(**mock_credentials()):
        storage = new_bucket(moto)
        assert storage.upload(tmp_path / "in", "d") == 1
        assert storage.upload(tmp_path / "in", "d") == 0
        assert storage.download("d", tmp_path / "out") == 1
    assert (tmp_path / "out/big").read_bytes() == (tmp_path / "in/big").read_bytes()


def test_one_client_serves_several_threads(moto: str) -> None:
    with environment(**mock_credentials()):
        storage = new_bucket(moto)
        threads = [threading.Thread(target=storage.put, args=(f"k{n}", str(n).encode())) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [storage.get(f"k{n}") for n in range(8)] == [str(n).encode() for n in range(8)]
