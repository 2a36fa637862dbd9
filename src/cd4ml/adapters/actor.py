"""Who is at work: the name that records carry."""

from __future__ import annotations

import os

__all__ = ["ACTOR", "current_actor"]

ACTOR = "CD4ML_ACTOR"
# A person's choice first, then the one for whom GitHub, GitLab or Jenkins runs, then the machine's user.
_NAMES = (ACTOR, "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "USER")


def current_actor(given: str = "") -> str:
    """Return `given`, or who the environment says is at work; "" when it does not say."""
    names = (os.environ.get(name, "").strip() for name in _NAMES)
    return given.strip() or next((name for name in names if name), "")
