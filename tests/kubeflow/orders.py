"""What tests want to have run: a small compiled pipeline, and a repository of their own."""

import subprocess

from cd4ml.adapters.kubeflow.remote_client import connect
from cd4ml.steps.submit import Wish, place
from tests.adapters.s3_server import environment


def repository(folder, text="one"):
    """Make a git repository, or a further commit in it; return the commit."""
    folder.mkdir(exist_ok=True)
    (folder / "code").write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", text]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def placed(api, package, folder, **options):
    """Upload a pipeline; return the server and what is to be run."""
    server = connect(api.url, options.pop("namespace", ""))
    with environment(CD4ML_KFP_TOKEN=None, CD4ML_KFP_COOKIE=None):
        return server, place(server, Wish(package, {"what": "x"}, **options), folder)
