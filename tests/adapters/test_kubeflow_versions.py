"""One commit is one version of a pipeline on a server: not two, and not another one."""

import pytest

from cd4ml.adapters.kubeflow.remote_versions import digest
from cd4ml.errors import ServiceError, UsageError
from tests.adapters.tiny_pipeline import compile_tiny
from tests.kubeflow.orders import placed, repository
from tests.kubeflow.server import api_server

UPLOAD, LISTED = "upload_pipeline_version", "pipeline_service_list_pipeline_versions"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def api():
    with api_server() as server:
        yield server


def changed(package, folder):
    text = package.read_text().replace("example.org/cd4ml-python:1", "example.org/cd4ml-python:2")
    (folder / "tiny.yaml").write_text(text)
    return folder / "tiny.yaml"


def test_a_version_is_named_by_its_commit_and_says_branch_and_hash(api, tiny, tmp_path):
    commit = repository(tmp_path / "code")
    _, order = placed(api, tiny, tmp_path / "code")
    (version,) = api.state.versions.values()
    assert version["name"] == order.version.name == commit
    assert version["description"] == f"commit {commit}, branch main; sha256:{digest(tiny)}"
    assert order.experiment == "cd4ml/main" and order.name == f"tiny-{commit[:12]}"
    (pipeline,) = api.state.pipelines.values()
    assert pipeline["display_name"] == "tiny" and order.version.created


def test_the_same_commit_again_makes_no_second_version_and_the_next_one_does(api, tiny, tmp_path):
    repository(tmp_path / "code")
    orders = [placed(api, tiny, tmp_path / "code")[1] for _ in range(2)]
    assert orders[0].version.version_id == orders[1].version.version_id
    assert [one.version.created for one in orders] == [True, False]
    repository(tmp_path / "code", "two")
    placed(api, tiny, tmp_path / "code")
    assert len(api.state.versions) == 2 and len(api.state.pipelines) == 1


def test_the_same_commit_with_other_content_is_refused_and_told_what_differs(api, tiny, tmp_path):
    commit = repository(tmp_path / "code")
    placed(api, tiny, tmp_path / "code")
    with pytest.raises(UsageError) as caught:
        placed(api, changed(tiny, tmp_path), tmp_path / "code")
    text = str(caught.value)
    assert commit in text and digest(tiny)[:12] in text
    assert 'container.image was "example.org/cd4ml-python:1", is "example.org/cd4ml-python:2"' in text
    assert len(api.state.versions) == 1


@pytest.mark.parametrize("same", [True, False])
def test_a_version_that_was_uploaded_by_hand_is_held_against_what_it_says(same, api, tiny, tmp_path):
    repository(tmp_path / "code")
    placed(api, tiny if same else changed(tiny, tmp_path), tmp_path / "code")
    for one in api.state.versions.values():
        one["description"] = "by hand"
    if same:
        assert not placed(api, tiny, tmp_path / "code")[1].version.created
    else:
        with pytest.raises(UsageError, match="sha256 unknown there"):
            placed(api, tiny, tmp_path / "code")


def test_comments_and_spaces_are_no_other_content(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text("# said by hand\n" + tiny.read_text() + "\n\n")
    assert digest(tmp_path / "tiny.yaml") == digest(tiny)
    assert digest(changed(tiny, tmp_path)) != digest(tiny)


def test_changes_that_are_not_committed_are_refused_before_anything_is_sent(api, tiny, tmp_path):
    commit = repository(tmp_path / "code")
    (tmp_path / "code/code").write_text("changed")
    with pytest.raises(UsageError, match=r"not committed.*--allow-dirty"):
        placed(api, tiny, tmp_path / "code")
    assert api.asked == []
    _, order = placed(api, tiny, tmp_path / "code", allow_dirty=True)
    assert order.version.name == f"{commit}-dirty-{digest(tiny)[:12]}"


def test_outside_of_a_repository_a_version_is_named_by_its_content(api, tiny, tmp_path):
    _, order = placed(api, tiny, tmp_path)
    assert order.version.name == f"content-{digest(tiny)[:12]}" and order.experiment == "cd4ml"


def test_ci_may_say_commit_and_branch(api, tiny, tmp_path):
    _, order = placed(api, tiny, tmp_path, commit="0123abcd", branch="release/2")
    assert (order.version.name, order.experiment) == ("0123abcd", "cd4ml/release/2")
    with pytest.raises(UsageError, match="7 to 64 hexadecimal digits; got 'v1"):
        placed(api, tiny, tmp_path, commit="v1.0")


@pytest.mark.parametrize("operation", [UPLOAD, "pipeline_service_create_pipeline"])
def test_an_upload_whose_answer_was_lost_is_found(operation, api, tiny, tmp_path):
    api.troubles[operation] = ["lost"]
    placed(api, tiny, tmp_path)
    assert len(api.state.versions) == len(api.state.pipelines) == 1
    assert api.calls[operation] == 1


def test_an_upload_that_broke_is_an_error_and_leaves_no_version(api, tiny, tmp_path):
    api.troubles[UPLOAD] = ["cut"]
    with pytest.raises(ServiceError, match="could not reach it"):
        placed(api, tiny, tmp_path)
    assert api.state.versions == {}
    placed(api, tiny, tmp_path)
    assert len(api.state.versions) == 1


def test_of_two_jobs_that_upload_at_once_the_second_takes_what_the_first_made(api, tiny, tmp_path):
    _, first = placed(api, tiny, tmp_path)
    api.troubles[LISTED] = ["stale"]
    _, second = placed(api, tiny, tmp_path)
    assert second.version.version_id == first.version.version_id and len(api.state.versions) == 1


def test_a_name_that_differs_in_case_alone_is_another_pipeline(api, tiny, tmp_path):
    api.state.pipeline_service_create_pipeline({"display_name": "TINY"})
    placed(api, tiny, tmp_path)
    assert {one["display_name"] for one in api.state.pipelines.values()} == {"TINY", "tiny"}


def test_a_stranger_uploads_nothing(api, tiny, tmp_path):
    api.tokens.add("right")
    with pytest.raises(ServiceError, match="answered 401"):
        placed(api, tiny, tmp_path)
    assert api.calls[UPLOAD] == 0
