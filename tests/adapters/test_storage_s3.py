"""What only a store in S3 has: a network, credentials, and servers that cannot swap."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest

from cd4ml.adapters.storage import S3Storage
from cd4ml.errors import ConflictError, IntegrityError, ServiceError, UsageError
from tests.adapters.s3_server import (
    CUT,
    LATE,
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


@pytest.mark.s3
def test_a_missing_bucket_is_told_with_the_command_that_makes_it(endpoint: str) -> None:
    error = failure(S3Storage("never-made", endpoint=endpoint))
    with pytest.raises(ServiceError, match="does not exist"):
        S3Storage("never-made", endpoint=endpoint).compare_and_swap("k", b"1", None)
    assert "aws s3 mb s3://never-made" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (
            403,
            "SignatureDoesNotMatch",
            "refused the credentials (SignatureDoesNotMatch); check AWS_ACCESS_KEY_ID",
        ),
        (403, "InvalidAccessKeyId", "refused the credentials (InvalidAccessKeyId)"),
        (403, "AccessDenied", "denied access to the bucket 'bucket'"),
        (403, "RequestTimeTooSkewed", "'timedatectl set-ntp true'"),
        (404, "NoSuchBucket", "aws s3 mb s3://bucket"),
        (400, "EntityTooLarge", "refused the request (EntityTooLarge)"),
    ],
)
def test_a_refusal_says_what_to_set_and_shows_no_secret(status: int, code: str, said: str) -> None:
    with (
        scripted_endpoint((status, code), (status, code)) as (endpoint, _),
        environment(AWS_SECRET_ACCESS_KEY=SECRET),
    ):
        error = failure(S3Storage("bucket", endpoint=endpoint))
        with pytest.raises(ServiceError) as swapped:
            S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)
    assert said in str(error)
    assert str(swapped.value) == str(error)
    assert SECRET not in str(error)
    assert error.exit_code == 6


def test_an_answer_that_is_no_s3_is_told() -> None:
    with scripted_endpoint(418) as (endpoint, _):
        assert "answered with HTTP status 418 and not as an S3 server does" in str(
            failure(S3Storage("bucket", endpoint=endpoint))
        )


def test_a_put_is_sent_again_when_the_server_fails() -> None:
    with scripted_endpoint(500, 503) as (endpoint, requests):
        S3Storage("bucket", endpoint=endpoint).put("k", b"1")
    assert requests.count("PUT /bucket/k") == 3


def test_a_body_that_is_cut_off_is_fetched_again_from_its_start() -> None:
    body = b"0123456789abcdef" * (3 << 16)
    with scripted_endpoint(CUT, CUT, method="GET", body=body) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).get("k") == body
    assert requests.count("GET /bucket/k") == 3


def test_a_body_that_is_always_cut_off_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with scripted_endpoint(*[CUT] * 6, method="GET", body=b"whole body") as (endpoint, _):
        storage = S3Storage("bucket", endpoint=endpoint)
        with pytest.raises(ServiceError, match="broke off in the middle of an answer"):
            storage.get("k")
        with pytest.raises(ServiceError, match="broke off in the middle of an answer"):
            storage._fetch("k", tmp_path / "f")
    assert not list(tmp_path.iterdir())


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
    with (
        scripted_endpoint() as (endpoint, requests),
        pytest.raises(UsageError, match="does not honour If-None-Match"),
    ):
        S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)
    assert not [request for request in requests if request.endswith("/k")], "nothing may be written"


def test_a_server_that_ignores_if_match_is_refused_loudly() -> None:
    with (
        scripted_endpoint(200, 412) as (endpoint, _),
        pytest.raises(UsageError, match="does not honour If-Match"),
    ):
        S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", None)


def test_a_server_that_refuses_every_etag_is_refused_loudly() -> None:
    with (
        scripted_endpoint(200, 412, 412, 412) as (endpoint, _),
        pytest.raises(UsageError, match="does not honour If-Match"),
    ):
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


def test_a_swap_that_took_place_though_the_server_said_500_does_not_lose_against_itself() -> None:
    """The first attempt is written late: the object looks as before, and the second attempt is refused."""
    with scripted_endpoint(*CAPABLE, 500, LATE) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123") == "0123"
    assert requests.count("PUT /bucket/k") == 2


def test_a_swap_that_fails_and_is_then_refused_was_lost_to_another_writer() -> None:
    with scripted_endpoint(*CAPABLE, 500, 412) as (endpoint, _), pytest.raises(ConflictError):
        S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123")


def test_a_failing_server_whose_object_changed_is_a_conflict() -> None:
    with scripted_endpoint(*CAPABLE, 500) as (endpoint, _), pytest.raises(ConflictError):
        S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "another")


def test_a_swap_whose_answer_was_lost_is_settled_by_its_mark() -> None:
    with scripted_endpoint(*CAPABLE, WRITTEN_UNANSWERED) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "other") == "0123"
    assert requests.count("PUT /bucket/k") == 1


def test_a_swap_that_was_cut_off_before_the_write_is_sent_again() -> None:
    with scripted_endpoint(*CAPABLE, UNANSWERED) as (endpoint, requests):
        assert S3Storage("bucket", endpoint=endpoint).compare_and_swap("k", b"1", "0123") == "0123"
    assert requests.count("PUT /bucket/k") == 2


@pytest.mark.s3
def test_an_object_that_was_changed_in_the_store_is_refused_on_download(
    endpoint: str, tmp_path: Path
) -> None:
    storage = new_bucket(endpoint)
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


@pytest.mark.s3
def test_a_key_of_the_server_that_leaves_the_folder_is_refused(endpoint: str, tmp_path: Path) -> None:
    storage = new_bucket(endpoint)
    storage.put("d/f", b"")
    with pytest.raises(UsageError, match="relative path"):
        HostileStorage(storage.bucket, storage.prefix, endpoint).download("d", tmp_path / "t")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.s3
def test_a_file_of_several_parts_arrives_whole(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/big").write_bytes(b"0123456789abcdef" * (11 << 16))
    storage = new_bucket(endpoint)
    assert storage.upload(tmp_path / "in", "d") == 1
    assert storage.upload(tmp_path / "in", "d") == 0
    assert storage.download("d", tmp_path / "out") == 1
    assert (tmp_path / "out/big").read_bytes() == (tmp_path / "in/big").read_bytes()


@pytest.mark.s3
def test_one_client_serves_several_threads(endpoint: str) -> None:
    storage = new_bucket(endpoint)
    threads = [threading.Thread(target=storage.put, args=(f"k{n}", str(n).encode())) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.get(f"k{n}") for n in range(8)] == [str(n).encode() for n in range(8)]


@pytest.mark.s3
def test_the_folder_marks_of_consoles_are_no_keys(endpoint: str, tmp_path: Path) -> None:
    storage = new_bucket(endpoint)
    storage.put("d/f", b"1")
    for mark in ("", "d/", "d/e/"):
        storage._client.put_object(storage.bucket, storage.prefix + mark, io.BytesIO(b""), 0)
    assert storage.list("") == ["d/f"]
    assert storage.download("d", tmp_path / "t") == 1


@pytest.mark.s3
def test_an_object_that_was_changed_in_the_store_is_refused_when_it_is_read(endpoint: str) -> None:
    storage = new_bucket(endpoint)
    meta = {"x-amz-meta-sha256": "0" * 64}
    storage._client.put_object(storage.bucket, f"{storage.prefix}k", io.BytesIO(b"x"), 1, metadata=meta)
    with pytest.raises(IntegrityError, match="some/prefix/k"):
        storage.get("k")
