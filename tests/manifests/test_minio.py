"""MinIO as a component: ports, labels and Secrets agree, and its users may do what their work needs."""

from __future__ import annotations

import fnmatch
import io
import json
import runpy
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cd4ml.steps.doctor.store import PROBES
from tests.adapters.s3_server import environment
from tests.manifests.rendering import MANIFESTS, needs_kubectl, of_kind, rendered

_SETUP = MANIFESTS / "components/minio/setup.py"
_POLICIES = MANIFESTS / "components/minio/policies"
_BUCKET, _PREFIX = "cd4ml-dev", "cd4ml/"
SECRET = "0123456789abcdef"


def _one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in of_kind(rendered("environments/dev"), kind) if one["metadata"]["name"] == name]
    return found


def _pod(kind: str, name: str) -> dict[str, Any]:
    return dict(_one(kind, name)["spec"]["template"]["spec"])


@needs_kubectl
def test_service_pods_budget_and_policies_speak_of_the_same_pods_and_port() -> None:
    workload, service = _one("StatefulSet", "cd4ml-minio"), _one("Service", "cd4ml-minio")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    for selector in (
        workload["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        _one("PodDisruptionBudget", "cd4ml-minio")["spec"]["selector"]["matchLabels"],
        _one("NetworkPolicy", "cd4ml-minio")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (box,) = workload["spec"]["template"]["spec"]["containers"]
    (port,) = box["ports"]
    (served,) = service["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    assert f"--address=:{port['containerPort']}" in box["args"]
    assert (
        _one("ConfigMap", "cd4ml-store")["data"]["CD4ML_S3_ENDPOINT"]
        == f"http://cd4ml-minio:{served['port']}"
    )
    assert {box[probe]["httpGet"]["port"] for probe in box if probe.endswith("Probe")} == {port["name"]}


@needs_kubectl
@pytest.mark.parametrize("name", ["cd4ml-predictors", "cd4ml-controller", "cd4ml-minio-setup"])
def test_who_needs_the_store_may_reach_it_by_its_pods(name: str) -> None:
    labels = _one("StatefulSet", "cd4ml-minio")["spec"]["template"]["metadata"]["labels"]
    reached = [
        port["port"]
        for rule in _one("NetworkPolicy", name)["spec"]["egress"]
        for peer in rule["to"]
        if set(peer) == {"podSelector"}
        and len(wanted := peer["podSelector"].get("matchLabels", {})) > 0
        and wanted.items() <= labels.items()
        for port in rule["ports"]
    ]
    assert reached == [9000]


@needs_kubectl
def test_minio_calls_nobody_and_is_asked_by_few() -> None:
    spec = _one("NetworkPolicy", "cd4ml-minio")["spec"]
    assert "Egress" in spec["policyTypes"] and "egress" not in spec
    (rule,) = spec["ingress"]
    assert {"podSelector": {}} in rule["from"]
    assert not any("ipBlock" in peer for peer in rule["from"])


@needs_kubectl
def test_every_secret_that_a_pod_names_is_one_that_the_credentials_make() -> None:
    import yaml

    text = (MANIFESTS / "minio-credentials/kustomization.yaml").read_text()
    made = {one["name"]: one["envs"][0] for one in yaml.safe_load(text)["secretGenerator"]}
    pods = [_pod("StatefulSet", "cd4ml-minio"), _pod("Job", "cd4ml-minio-setup")]
    named = set()
    for volume in (volume for pod in pods for volume in pod["volumes"]):
        named |= {volume["secret"]["secretName"]} if "secret" in volume else set()
        for source in volume.get("projected", {}).get("sources", ()):
            named.add(source["secret"]["name"])
            keys = {item["key"] for item in source["secret"]["items"]}
            example = MANIFESTS / "minio-credentials" / f"{made[source['secret']['name']]}.example"
            assert keys == {line.partition("=")[0] for line in example.read_text().splitlines()}
    assert named == made.keys()
    users = {
        item["path"].partition("/")[0]
        for source in next(v["projected"] for v in pods[1]["volumes"] if "projected" in v)["sources"]
        for item in source["secret"]["items"]
    }
    assert users == {"root", *(path.stem for path in _POLICIES.iterdir())}
    assert _one("ConfigMap", "cd4ml-minio-setup")["data"].keys() == {
        "setup.py",
        *(path.name for path in _POLICIES.iterdir()),
    }


def allows(user: str, action: str, key: str) -> bool:
    """Whether a user may do something with a key of the store."""
    text = (_POLICIES / f"{user}.json").read_text().replace("$BUCKET", _BUCKET).replace("$PREFIX", _PREFIX)
    assert "$" not in text
    return any(
        f"s3:{action}" in rule["Action"]
        and any(
            fnmatch.fnmatchcase(f"arn:aws:s3:::{_BUCKET}/{_PREFIX}{key}", one) for one in rule["Resource"]
        )
        for rule in json.loads(text)["Statement"]
        if rule["Effect"] == "Allow"
    )


_WRITTEN = ("audit/000001.jsonl", "bundles/b/model.onnx", "models/m/versions/1.json", "models/m/aliases.json")


@pytest.mark.parametrize(
    ("user", "writes", "reads_alone"),
    [
        ("read", (), ("bundles/b/model.onnx",)),
        (
            "write",
            ("audit/000001.jsonl", "models/m/aliases.json", "rollouts/m/lease.json", ".incomplete-probe-1"),
            ("bundles/b/model.onnx", "environment.json", "models/m/versions/1.json"),
        ),
        (
            "train",
            (
                *_WRITTEN,
                "holdouts/h.json",
                "profiles/p.html",
                "rollouts/m/r.json",
                "runs/r.json",
                "snapshots/s/a",
            ),
            ("environment.json",),
        ),
        ("promote", _WRITTEN, ("environment.json",)),
    ],
)
def test_a_user_may_do_what_its_work_needs_and_no_more(
    user: str, writes: tuple[str, ...], reads_alone: tuple[str, ...]
) -> None:
    everything = {*_WRITTEN, "environment.json", "holdouts/h.json", "profiles/p.html", "rollouts/m/r.json"}
    everything |= {"runs/r.json", "snapshots/s/a", "secrets/x", *writes, *reads_alone}
    if user == "write":
        everything -= {"rollouts/m/r.json"}
    assert {key for key in everything if allows(user, "PutObject", key)} == set(writes)
    assert {key for key in everything if allows(user, "GetObject", key)} == {*writes, *reads_alone}
    deleted = {key for key in everything if allows(user, "DeleteObject", key)}
    assert allows(user, "DeleteObject", f"{PROBES}1") == (user != "read")
    assert deleted <= {"profiles/p.html", "snapshots/s/a", ".incomplete-probe-1"}


class _Server(ThreadingHTTPServer):
    """What MinIO answers to the setup: buckets and their versioning, and its administration."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets: dict[str, str] = {}
        self.policies: dict[str, Any] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.failing = 0

    def secret(self, user: str) -> str:
        """Return the secret that a user was given."""
        from minio.crypto import decrypt
        from urllib3.response import HTTPResponse

        sent = HTTPResponse(io.BytesIO(self.users[user]["sent"]), preload_content=False)
        return str(json.loads(decrypt(sent, SECRET))["secretKey"])


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self, status: int = 200, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def do_GET(self) -> None:
        self.server.failing -= 1
        if self.server.failing >= 0:
            self._answer(503, b"<Error><Code>ServerNotInitialized</Code></Error>")
            return
        self._answer(200, b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>")

    def do_HEAD(self) -> None:
        self._answer(200 if self.path.strip("/") in self.server.buckets else 404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        command = parts.path.removeprefix("/minio/admin/v3/")
        if command == "add-user":
            self.server.users.setdefault(asked["accessKey"], {})["sent"] = body
        elif command == "add-canned-policy":
            self.server.policies[asked["name"]] = json.loads(body)
        elif command == "set-user-or-group-policy":
            self.server.users[asked["userOrGroup"]]["policy"] = asked["policyName"]
        elif "versioning" in asked:
            self.server.buckets[parts.path.strip("/")] = "versions" if b"Enabled" in body else ""
        else:
            self.server.buckets[parts.path.strip("/")] = ""
        self._answer()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def minio() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        where = f"http://127.0.0.1:{server.server_address[1]}"
        with environment(CD4ML_STORE=f"s3://{_BUCKET}/cd4ml", CD4ML_S3_ENDPOINT=where):
            yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for name in ("root", "read", "write", "train", "promote"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "user").write_text(f"the-{name}\n")
        (tmp_path / name / "password").write_text(SECRET if name == "root" else f"{name}-{SECRET}\n")
    return tmp_path


def _setup(secrets: Path, *more: str, policies: Path = _POLICIES) -> int:
    main = runpy.run_path(str(_SETUP))["main"]
    return int(main([f"--policies={policies}", f"--secrets={secrets}", *more]))


def test_the_setup_makes_bucket_policies_and_users_and_may_be_run_again(
    minio: _Server, secrets: Path
) -> None:
    # Two of the users, for each secret takes the administration's slow encryption.
    (secrets / "policies").mkdir()
    for name in ("promote", "read"):
        shutil.copy(_POLICIES / f"{name}.json", secrets / "policies")
    for _ in range(2):
        assert _setup(secrets, policies=secrets / "policies") == 0
        assert minio.buckets == {_BUCKET: "versions"}
        assert {user: one["policy"] for user, one in minio.users.items()} == {
            "the-promote": "cd4ml-promote",
            "the-read": "cd4ml-read",
        }
    assert minio.secret("the-read") == f"read-{SECRET}"
    (resource,) = minio.policies["cd4ml-read"]["Statement"][1]["Resource"]
    assert resource == f"arn:aws:s3:::{_BUCKET}/cd4ml/bundles/*"


def test_the_setup_shows_no_secret_and_refuses_weak_ones(
    minio: _Server, secrets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _setup(secrets) == 0
    (secrets / "train" / "password").write_text("short")
    assert _setup(secrets) == 2
    said = capsys.readouterr().err
    assert "'train' needs" in said and SECRET not in said and "short" not in said
    (secrets / "train" / "password").write_text(SECRET)
    (secrets / "train" / "user").write_text("the-read")
    assert _setup(secrets) == 2
    assert minio.users.keys() == {"the-read", "the-write", "the-train", "the-promote"}


def test_a_template_that_was_not_filled_in_is_refused(minio: _Server, secrets: Path) -> None:
    (secrets / "read" / "user").write_text("REPLACE_ME")
    (secrets / "read" / "password").write_text("REPLACE_ME" * 2)
    assert _setup(secrets) == 2
    assert minio.buckets == {}


def test_the_setup_waits_for_minio_and_then_tells(minio: _Server, secrets: Path) -> None:
    minio.failing = 1000
    assert _setup(secrets, "--wait-seconds=0") == 6
    assert minio.users == {}
