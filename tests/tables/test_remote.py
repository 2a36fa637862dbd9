"""Files at addresses arrive whole, or there is one line that says what the server did."""

import socket
from contextlib import closing

import pytest

from cd4ml.errors import ServiceError, SourceError, UsageError
from cd4ml.tables.remote import fetch, shown, validator
from tests.adapters.s3_server import environment, mock_credentials, moto_endpoint, new_bucket
from tests.tables.sources_made import (
    body,
    cut,
    cut_in_a_chunk,
    for_get_alone,
    no_answer,
    serving,
    silent,
    silent_in_the_middle,
    status,
)

ROWS = b"day,shop,units\n2026-01-01,a,1\n"


@pytest.fixture(scope="module")
def moto():
    with moto_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(moto):
    with environment(**mock_credentials(), CD4ML_S3_ENDPOINT=moto):
        yield new_bucket(moto)


def test_a_file_arrives_as_it_is_and_once(tmp_path):
    with serving(sales_csv=body(ROWS)) as server:
        path = fetch(f"{server.url}/sales.csv", tmp_path)
        assert path.name == "sales.csv" and path.read_bytes() == ROWS
        assert fetch(f"{server.url}/sales.csv", tmp_path) == path
        assert server.requests == ["GET /sales.csv"]


def test_an_empty_file_is_a_file(tmp_path):
    with serving(sales_csv=body(b"")) as server:
        assert fetch(f"{server.url}/sales.csv", tmp_path).read_bytes() == b""


def test_names_are_unescaped_and_signatures_leave_no_trace(tmp_path):
    with serving() as server:
        server.answers["/my%20sales.csv"] = body(ROWS)
        path = fetch(f"{server.url}/my%20sales.csv?signature=geheim", tmp_path)
        assert path.name == "my sales.csv" and "geheim" not in str(path)


@pytest.mark.parametrize("code", [404, 410])
def test_an_absent_file_is_none(tmp_path, code):
    with serving(sales_csv=status(code)) as server:
        assert fetch(f"{server.url}/sales.csv", tmp_path) is None
        assert validator(f"{server.url}/sales.csv") is None


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (status(401), SourceError, "expected the right to read it; the server answered 401 Unauthorized"),
        (status(403), SourceError, "expected the right to read it; the server answered 403 Forbidden"),
        (status(400), SourceError, "expected a file; the server answered 400 Bad Request. Check the address"),
        (status(429), ServiceError, "answered 429 Too Many Requests. Try again later"),
        (status(500), ServiceError, "answered 500 Internal Server Error. Try again later"),
        (cut(ROWS, 1000), SourceError, "expected 1000 bytes; the connection was cut after 30"),
        (cut_in_a_chunk, SourceError, "the connection was cut"),
        (no_answer, SourceError, r"the connection was cut \(no answer came\)"),
        (silent, SourceError, r"the server was silent for 0.2 seconds \(no answer came\)"),
        (silent_in_the_middle, SourceError, "the server was silent for 0.2 seconds"),
        (body(ROWS, Content_Encoding="gzip"), SourceError, r"the server packs it \(gzip\)"),
    ],
)
def test_a_server_that_fails_is_told_in_one_line_and_leaves_no_file(tmp_path, answer, kind, words):
    with serving(sales_csv=answer) as server:
        with pytest.raises(kind, match=words) as caught:
            fetch(f"{server.url}/sales.csv?signature=geheim", tmp_path, timeout_seconds=0.2)
        assert f"{server.url}/sales.csv" in str(caught.value)
        assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_nobody_there_is_a_service_error(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceError, match=r"cannot be reached .*refused.*check the address and the network"):
        fetch(f"http://127.0.0.1:{port}/sales.csv", tmp_path)
    with pytest.raises(ServiceError, match="cannot be reached"):
        validator("http://no-such-host.invalid/sales.csv")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:geheim@host/sales.csv", "without a user or password"),
        ("http://[bad/sales.csv", "expected an address such as"),
        ("http://host:port/sales.csv", "expected an address such as"),
        ("http:///sales.csv", "expected an address such as"),
        ("http://127.0.0.1/my sales.csv", "Write blanks in it as %20"),
        ("s3://UP/sales.csv", "expected s3://bucket/file"),
        ("s3://bucket", "expected s3://bucket/file"),
    ],
)
def test_what_is_no_address_is_wrong_use(tmp_path, url, words):
    for ask in (validator, lambda address: fetch(address, tmp_path)):
        with pytest.raises(UsageError, match=words) as caught:
            ask(url)
        assert "geheim" not in str(caught.value)


def test_an_address_is_shown_without_secrets():
    assert shown("https://me:geheim@host:1/a/b.csv?sig=x#y") == "https://host:1/a/b.csv"


def test_the_validator_tells_versions_apart():
    first, second = body(ROWS, ETag='"1"'), body(ROWS, ETag='"2"')
    with serving(sales_csv=first) as server:
        url = f"{server.url}/sales.csv"
        before = validator(url)
        assert before == validator(url)
        server.answers["/sales.csv"] = second
        assert validator(url) != before
        server.answers["/sales.csv"] = body(ROWS + b"x", Last_Modified="Fri, 02 Jan 2026 00:00:00 GMT")
        assert "2026" in validator(url)


@pytest.mark.parametrize("answer", [body(ROWS), for_get_alone(body(ROWS)), for_get_alone(body(ROWS), 403)])
def test_a_server_that_tells_no_version_must_be_read(answer):
    with serving(sales_csv=answer) as server:
        assert validator(f"{server.url}/sales.csv") == ""


def test_an_object_of_s3_arrives_and_its_etag_tells_versions(tmp_path, bucket):
    bucket.put("shop/sales.csv", ROWS)
    url = f"s3://{bucket.bucket}/some/prefix/shop/sales.csv"
    assert fetch(url, tmp_path).read_bytes() == ROWS
    before = validator(url)
    bucket.put("shop/sales.csv", ROWS + ROWS)
    assert before and validator(url) != before
    absent = f"s3://{bucket.bucket}/some/prefix/nothing.csv"
    assert fetch(absent, tmp_path) is None and validator(absent) is None


def test_an_object_of_s3_that_is_cut_leaves_no_file(tmp_path):
    with serving() as server, environment(**mock_credentials(), CD4ML_S3_ENDPOINT=server.url):
        server.answers["/shop/sales.csv"] = cut(ROWS, 1000)
        with pytest.raises(ServiceError, match="ProtocolError"):
            fetch("s3://shop/sales.csv", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_bucket_that_is_not_there_is_told(tmp_path, bucket):
    with pytest.raises(ServiceError, match="the bucket 'no-such-bucket' does not exist"):
        fetch("s3://no-such-bucket/sales.csv", tmp_path)
