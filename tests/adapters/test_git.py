"""Which commit is at work, in real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cd4ml.adapters.git import Git, describe
from tests.adapters.s3_server import environment

NO_CI = dict.fromkeys(("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME"))


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_commit_and_branch_are_told_from_any_folder_within(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert describe(repository) == describe(repository / "deep") == Git(commit, "trunk", False)


def test_tracked_changes_make_it_dirty_and_new_files_do_not(repository: Path) -> None:
    (repository / "new").write_text("")
    assert not describe(repository).dirty
    (repository / "deep/file").write_text("2")
    assert describe(repository).dirty


def test_a_checked_out_commit_has_the_branch_that_ci_names(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    with environment(**NO_CI):
        assert describe(repository).branch == ""
        with environment(CI_COMMIT_REF_NAME="feature", GITHUB_HEAD_REF=""):
            assert describe(repository).branch == "feature"


def test_no_repository_no_commit_no_folder_and_no_git_are_empty(repository: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert describe(empty) == Git()
    git(empty, "init", "-q")
    assert describe(empty) == Git()
    assert describe(tmp_path / "nowhere") == Git()
    with environment(PATH=str(tmp_path)):
        assert describe(repository) == Git()


def test_a_hook_of_another_repository_does_not_mislead(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "hooked")
    git(other, "commit", "-q", "--allow-empty", "-m", "other")
    with environment(GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other)):
        assert describe(repository).branch == "trunk"
