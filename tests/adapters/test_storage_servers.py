"""What a real S3 server does with clocks, credentials and buckets that keep versions; skipped with a mock."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cd4ml.adapters.storage import S3Storage
from cd4ml.errors import ConflictError, ServiceError, UsageError
from tests.adapters.fault_proxy import fault_proxy, skewed
from tests.adapters.s3_server import environment, new_bucket
from tests.adapters.test_storage_faults import ALWAYS, WORK

pytestmark = pytest.mark.s3

SECRET = "a-very-secret-secret"


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("work", WORK)
def test_a_clock_that_is_wrong_is_told_with_what_sets_it(real_endpoint: str, work: str, hours: int) -> None:
    direct = new_bucket(real_endpoint)
    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    side = "ahead of" if hours > 0 else "behind"
    with fault_proxy(real_endpoint) as proxy:
        proxy.on("", "", skewed(3600 * hours, *keys), times=ALWAYS)
        store = S3Storage(direct.bucket, direct.prefix, proxy.endpoint)
        with pytest.raises(
            ServiceError, match=rf"clock here is 60 minutes {side} .* set the clock"
        ) as caught:
            WORK[work](store)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_clock_that_is_a_little_wrong_does_no_harm(real_endpoint: str) -> None:
    direct = new_bucket(real_endpoint)
    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    with fault_proxy(real_endpoint) as proxy:
        proxy.on("", "", skewed(300, *keys), times=ALWAYS)
        store = S3Storage(direct.bucket, direct.prefix, proxy.endpoint)
        store.put("k", b"1")
        assert store.get("k") == b"1"


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
@pytest.mark.parametrize("work", WORK)
def test_wrong_credentials_are_refused_and_not_shown(real_endpoint: str, work: str, name: str) -> None:
    direct = new_bucket(real_endpoint)
    with environment(**{name: SECRET}):
        store = S3Storage(direct.bucket, direct.prefix, real_endpoint)
        with pytest.raises(ServiceError, match=r"refused the credentials|denied access") as caught:
            WORK[work](store)
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "refused the credentials (SignatureDoesNotMatch)"),
        ({"CD4ML_STORE": "s3://never-made"}, "create it ('aws s3 mb s3://never-made'"),
        ({"CD4ML_S3_ENDPOINT": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_a_command_ends_with_6_and_one_line(real_endpoint: str, changed: dict[str, str], said: str) -> None:
    bucket = new_bucket(real_endpoint).bucket
    given = {**os.environ, "CD4ML_STORE": f"s3://{bucket}", "CD4ML_S3_ENDPOINT": real_endpoint, **changed}
    done = subprocess.run(
        [sys.executable, "-m", "cd4ml.cli", "models", "list"],
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert SECRET not in done.stderr + done.stdout


def versioned(endpoint: str, status: str = "Enabled") -> S3Storage:
    from minio.versioningconfig import VersioningConfig

    store = new_bucket(endpoint)
    store._client.set_bucket_versioning(store.bucket, VersioningConfig(status))
    return store


def test_a_bucket_that_keeps_versions_shows_the_last_ones(real_endpoint: str, tmp_path: Path) -> None:
    store = versioned(real_endpoint)
    for data in (b"1", b"22", b""):
        store.put("d/k", data)
        assert store.get("d/k") == data
    store.put("d/l", b"l")
    store.delete("d/k")
    assert not store.exists("d/k")
    assert store.read_versioned("d/k") is None
    assert store.list("") == ["d/l"]
    assert store.download("d", tmp_path / "t") == 1
    assert len(list(store._client.list_objects(store.bucket, recursive=True, include_version=True))) == 5


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_a_bucket_that_keeps_versions_swaps_rightly_or_refuses_to_swap(
    real_endpoint: str, status: str
) -> None:
    store = versioned(real_endpoint, status)
    try:
        token = store.compare_and_swap("k", b"1", None)
    except UsageError as error:
        assert f"whose versioning is '{status}'" in str(error)
        assert "bucket that never kept versions" in str(error)
        assert store.list("") == [], "nothing was written"
        return
    with pytest.raises(ConflictError):
        store.compare_and_swap("k", b"2", None)
    second = store.compare_and_swap("k", b"2", token)
    with pytest.raises(ConflictError):
        store.compare_and_swap("k", b"3", token)
    assert store.read_versioned("k") == (b"2", second)


def test_a_bucket_that_begins_to_keep_versions_is_probed_again(real_endpoint: str) -> None:
    from minio.versioningconfig import VersioningConfig

    store = new_bucket(real_endpoint)
    token = store.compare_and_swap("k", b"1", None)
    store._client.set_bucket_versioning(store.bucket, VersioningConfig("Enabled"))
    probes: list[Callable[[], object]] = [
        lambda: store.compare_and_swap("k", b"2", token),
        lambda: store.compare_and_swap("other", b"1", None),
        lambda: store.compare_and_swap("other", b"2", None),
    ]
    told = [type(failed(probe)) for probe in probes]
    # A server that honours conditions here refuses the last one; any other is refused from the second on.
    assert told in ([type(None), type(None), ConflictError], [ConflictError, UsageError, UsageError])


def failed(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except (ConflictError, UsageError) as error:
        return error
    return None


def test_an_object_of_another_program_is_read_as_it_is(real_endpoint: str, tmp_path: Path) -> None:
    store = new_bucket(real_endpoint)
    store._client.put_object(store.bucket, f"{store.prefix}d/k", io.BytesIO(b"by hand"), 7)
    assert store.get("d/k") == b"by hand"
    assert store.download("d", tmp_path) == 1
    assert store.download("d", tmp_path) == 1, "nobody promised its hash, so it is fetched again"
