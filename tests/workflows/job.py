"""Run steps of a workflow file as GitHub would: its own text, its own environment, a checkout of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def workflow(name):
    return yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())


def step_of(job, key):
    (found,) = [one for one in job["steps"] if key in (one.get("id"), one.get("name"))]
    return found


def checkout(folder):
    """Make a repository of what a job needs of ours; return its commit."""
    for name in ("scripts/submit.py", ".github/kfp-token.sh"):
        target = folder / name
        target.parent.mkdir(parents=True)
        target.write_bytes((ROOT / name).read_bytes())
        target.chmod(0o755)
    (folder / ".gitignore").write_text("/out/\n")
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "--quiet", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


class Runner:
    """Runs steps in a folder; `values` are those of expressions such as `vars.KFP_HOST`."""

    def __init__(self, folder, values, **extra):
        self.folder, self.values, self.extra = folder, {"github.workspace": str(folder), **values}, extra
        self.groups = []

    def run(self, job, step):
        asked = {**job.get("env", {}), **step.get("env", {})}
        own = {name: self.filled(str(value)) for name, value in asked.items()}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        python = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        kept = {key: os.environ[key] for key in ("HOME", "OMP_NUM_THREADS") if key in os.environ}
        environment = {
            **kept,
            "PATH": path,
            "PYTHONPATH": python,
            "NO_PROXY": "*",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        log = self.folder.parent / "log.txt"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=self.folder, env={**environment, **own, **self.extra}, stdout=stream,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.groups.append(process.pid)
        return process.wait(60), log.read_text()

    def filled(self, text):
        return re.sub(r"\$\{\{ *(.+?) *\}\}", lambda found: self.values.get(found[1], ""), text)

    def close(self):
        for group in self.groups:  # what a job leaves running ends with it
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@contextmanager
def token_server(token):
    """Yield the address at which GitHub would give tokens; each is for the audience that was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers["Authorization"] == "bearer of-this-job"
            data = json.dumps(
                {"value": token if known and self.path.endswith("&audience=kubeflow") else "no"}
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
    finally:
        server.shutdown()
        server.server_close()
