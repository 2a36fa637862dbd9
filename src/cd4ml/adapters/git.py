"""Which commit of the code is at work."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Git", "commit_time", "describe"]

_TIMEOUT_SECONDS = 10.0
# A CI job checks out a commit, not a branch. The branch's name is in these: GitHub's pull requests, GitHub,
# GitLab, Jenkins.
_CI_BRANCH = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME")

# Set while git runs a hook: they would lead to the hook's repository, not to that of the folder.
_ELSEWHERE = {
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}


@dataclass(frozen=True)
class Git:
    """A commit (40 hexadecimal digits), its branch, and whether tracked files differ from it.

    Empty strings and False say that there is no repository.
    """

    commit: str = ""
    branch: str = ""
    dirty: bool = False


def describe(folder: Path) -> Git:
    """Return the commit, branch and state of the git repository that holds `folder`."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return Git()
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if branch == "HEAD":
        branch = next((os.environ[name] for name in _CI_BRANCH if os.environ.get(name)), "")
    dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return Git(commit, branch, dirty)


def commit_time(folder: Path, commit: str) -> str:
    """Return when a commit was made, in ISO 8601; "" if the repository that holds `folder` has none such."""
    if not commit or not set(commit) <= set("0123456789abcdef"):
        return ""
    return _git(folder, "show", "--no-patch", "--format=%cI", f"{commit}^{{commit}}")


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints, or "" when there is no git, no repository or no answer in time."""
    command = shutil.which("git")
    if command is None or not folder.is_dir():
        return ""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    environment = {**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [command, "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            env=environment,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
