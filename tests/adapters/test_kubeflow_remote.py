"""A server is called as the installed client calls it: what refuses, breaks or asks who we are."""

import socket
import time

import pytest

from cd4ml.adapters.kubeflow.remote import list_pipelines, list_runs, look
from cd4ml.adapters.kubeflow.remote_client import connect
from cd4ml.errors import NotFoundError, ServiceError, UsageError
from tests.adapters.s3_server import environment
from tests.kubeflow.server import api_server

GONE = "http://127.0.0.1:9"
NOBODY = dict.fromkeys(
    (
        "CD4ML_KFP_TOKEN",
        "CD4ML_KFP_TOKEN_FILE",
        "CD4ML_KFP_COOKIE",
        "CD4ML_KFP_COOKIE_FILE",
        "CD4ML_KFP_CA_FILE",
        "KF_PIPELINES_SA_TOKEN_PATH",
    )
)


@pytest.fixture
def api():
    with api_server() as server, environment(**NOBODY):
        yield server


@pytest.mark.parametrize("host", ["localhost:8888", "", "ftp://x"])
def test_a_host_that_is_no_url_is_refused(host):
    with pytest.raises(UsageError, match="host must be a URL"):
        connect(host)


def test_nothing_is_sent_before_something_is_asked(api):
    connect(api.url + "/")
    assert api.asked == []


def test_an_unreachable_server_is_a_service_error_that_says_what_to_do():
    with pytest.raises(ServiceError, match=r"could not reach it .*port-forward") as caught:
        list_pipelines(connect(GONE))
    assert caught.value.exit_code == 6


def test_a_server_that_never_answers_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(ServiceError, match="could not reach it"):
            list_pipelines(connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.1))
    assert time.monotonic() - started < 10


def test_what_only_reads_is_asked_again_when_the_server_stumbles(api):
    api.troubles["pipeline_service_list_pipelines"] = [503, "cut"]
    assert list_pipelines(connect(api.url)) == []
    assert api.calls["pipeline_service_list_pipelines"] >= 3


def test_a_refusal_that_is_no_json_is_told_as_it_is(api):
    api.troubles["pipeline_service_list_pipelines"] = [500] * 3
    with pytest.raises(ServiceError, match="answered 500: upstream connect error"):
        list_pipelines(connect(api.url))


def test_what_is_not_there_is_not_found(api):
    with pytest.raises(NotFoundError, match="answered 404: Run no-such-run not found"):
        look(connect(api.url), "no-such-run")


def test_an_unknown_caller_is_told_how_to_say_who_he_is_and_is_not_asked_again(api):
    api.tokens.add("right")
    with pytest.raises(ServiceError, match=r"answered 401: .*no user identity.*CD4ML_KFP_TOKEN"):
        list_pipelines(connect(api.url))
    assert len(api.asked) == 1


def test_a_namespace_of_others_is_refused():
    with api_server(multi_user=True, namespaces=["ours"]) as api:
        with pytest.raises(ServiceError, match=r"answered 403: .*theirs.*ask for the role"):
            list_runs(connect(api.url, "theirs"))
        assert list_runs(connect(api.url, "ours")) == []


def test_a_login_page_in_place_of_the_api_is_told_as_such(api):
    api.login = True
    with pytest.raises(ServiceError, match=r"found a web page, such as a login: give a session"):
        list_pipelines(connect(api.url))


def test_a_token_comes_from_the_environment(api):
    api.tokens.add("right")
    with environment(CD4ML_KFP_TOKEN="right"):
        list_pipelines(connect(api.url))
    assert {one.authorization for one in api.asked} == {"Bearer right"}


def test_a_session_cookie_comes_from_the_environment_or_a_file(api, tmp_path):
    api.cookies.add("authservice_session=abc")
    file = tmp_path / "cookie"
    file.write_text("authservice_session=abc\n")
    for given in ({"CD4ML_KFP_COOKIE": "authservice_session=abc"}, {"CD4ML_KFP_COOKIE_FILE": str(file)}):
        with environment(**given):
            list_pipelines(connect(api.url))
    assert {one.cookie for one in api.asked} == {"authservice_session=abc"}


@pytest.mark.parametrize("name", ["CD4ML_KFP_TOKEN_FILE", "KF_PIPELINES_SA_TOKEN_PATH"])
def test_a_token_that_is_renewed_in_its_file_is_used_as_it_is_now(name, api, tmp_path):
    file = tmp_path / "token"
    file.write_text("first")
    api.tokens.add("first")
    with environment(**{name: str(file)}):
        server = connect(api.url)
        list_pipelines(server)
        api.tokens = {"second"}
        file.write_text("second\n")
        list_pipelines(server)
    assert [one.authorization for one in api.asked] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), ("", "found nothing"), ("a\nSet-Cookie: x", "one line")]
)
def test_a_cookie_file_that_is_no_cookie_is_refused(content, message, tmp_path):
    file = tmp_path / "cookie"
    if content is not None:
        file.write_text(content)
    given = {**NOBODY, "CD4ML_KFP_COOKIE_FILE": str(file)}
    with environment(**given), pytest.raises(UsageError, match=message):
        connect("http://localhost:1")


def test_certificates_that_are_not_there_are_wrong_use():
    given = {**NOBODY, "CD4ML_KFP_CA_FILE": "/no/such.pem"}
    with environment(**given), pytest.raises(UsageError, match=r"such.pem, named by CD4ML_KFP_CA_FILE"):
        connect("https://localhost:1")
