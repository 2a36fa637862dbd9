"""Each check against a real part: a port that is taken, a folder that cannot be written, a dead server."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.domain.checkup import Answer, Finding, ok
from cd4ml.errors import ServiceError, UsageError
from cd4ml.steps.doctor import AREAS, Check, Settings, examine, run_checks
from cd4ml.steps.doctor.containers import podman_quirks
from tests.adapters.s3_server import environment

ROOT = Path(__file__).parent.parent.parent


def looked(settings: Settings, area: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, [area])}


def test_checks_run_side_by_side_and_a_slow_one_has_failed() -> None:
    release = threading.Event()

    def slow() -> Answer:
        release.wait(30)
        return ok("late")

    def broken() -> Answer:
        raise KeyError("x")

    def away() -> Answer:
        raise ServiceError("nobody answers at 127.0.0.1:9; start it")

    def wrong() -> Answer:
        raise UsageError("no gateway")

    chosen = [
        Check("store", "slow", slow, frozenset(("laptop",))),
        Check("store", "broken", broken),
        Check("store", "away", away),
        Check("store", "wrong", wrong, fix="bring one"),
        Check("store", "fine", lambda: ok("1")),
    ]
    seen: list[str] = []
    start = time.monotonic()
    found = run_checks(chosen, Settings(limit_seconds=0.5), lambda finding: seen.append(finding.name))
    assert time.monotonic() - start < 5
    release.set()
    assert [one.name for one in found] == ["slow", "broken", "away", "wrong", "fine"]
    assert "slow" not in seen
    assert [(one.status, one.exit_code) for one in found] == [
        ("fail", 6), ("fail", 2), ("fail", 6), ("fail", 2), ("ok", 0),
    ]  # fmt: skip
    assert found[0].found == "no answer within 0.5 s" and found[0].needed
    assert "KeyError" in found[1].found
    assert (found[2].found, found[2].fix) == ("nobody answers at 127.0.0.1:9", "start it")
    assert found[3].fix == "bring one"


def test_output_of_this_process_is_not_lost_to_a_check_that_hangs(capsys) -> None:
    release = threading.Event()

    def hides() -> Answer:
        with contextlib.redirect_stdout(None):
            release.wait(10)
        return ok("")

    before = sys.stdout
    run_checks([Check("store", "hides", hides)], Settings(limit_seconds=0.3))
    assert sys.stdout is before
    release.set()


def test_an_unknown_area_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no area 'stor'; did you mean 'store'\?"):
        examine(Settings(), ["stor"])


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        taken = looked(Settings(ports=(port,)), "machine")[f"port {port}"]
    assert (taken.status, taken.needed) == ("fail", True)
    assert "Address already in use" in taken.found and f"sport = :{port}" in taken.fix
    assert looked(Settings(ports=(port,)), "machine")[f"port {port}"].status == "ok"


def test_python_and_its_packages_fit_here() -> None:
    found = looked(Settings(), "python")
    assert {name: one.status for name, one in found.items() if one.status == "fail"} == {}
    assert found["extra train"].needed and not found["extra cluster"].needed
    assert {name for name, one in looked(Settings("cluster"), "python").items() if one.needed} == {
        "version", "packages", "extra cluster",
    }  # fmt: skip


def test_envoy_that_does_not_run_is_seen(tmp_path: Path) -> None:
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho no such library >&2\nexit 127\n")
    broken.chmod(0o755)
    with environment(CD4ML_ENVOY=str(broken)):
        found = looked(Settings(), "programs")["envoy"]
    assert (found.status, found.needed) == ("fail", True)
    assert "no such library" in found.found and "pip install" in found.fix
    with environment(CD4ML_ENVOY=str(tmp_path / "none")):
        assert looked(Settings(), "programs")["envoy"].status == "fail"


def test_a_store_that_works_is_probed_and_left_as_it_was(tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = looked(Settings(store=str(store)), "store")
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(
        ("place", "read", "compare-and-swap"), "ok"
    )
    assert list(tmp_path.iterdir()) == [], "looking made a store"
    store.mkdir()
    assert looked(Settings(store=str(store)), "store")["compare-and-swap"].status == "ok"
    assert [path for path in store.rglob("*") if path.is_file() and ".locks" not in path.parts] == []


def test_a_folder_is_no_store_for_a_cluster(tmp_path: Path) -> None:
    found = looked(Settings("cluster", store=str(tmp_path)), "store")["place"]
    assert found.status == "warn" and "s3://" in found.expected


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    found = looked(Settings(store=str(tmp_path / "store")), "store")
    assert {one.status for one in found.values()} == {"fail"}
    assert found["read"].exit_code == 2


def test_a_store_that_may_not_be_written_is_read_and_fails_at_the_probe(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "models/shop/versions").mkdir(parents=True)
    (store / "models/shop/versions/1.json").write_text("{}")
    command = [sys.executable, "-m", "cd4ml.cli", "doctor", "--area", "store", "--store", str(store)]
    if os.geteuid() == 0:  # nothing keeps root from writing but the lack of this capability
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv (Debian: util-linux) to be root without its rights")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    (store / "models/shop/versions").chmod(0o555)
    store.chmod(0o555)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
    finally:
        store.chmod(0o755)
        (store / "models/shop/versions").chmod(0o755)
    assert done.returncode == 6, done.stderr
    assert "it has 1 model" in done.stdout
    assert "Permission denied" in done.stdout and "Traceback" not in done.stderr
    assert "store/compare-and-swap" in done.stderr


def test_s3_that_nobody_serves_is_out_of_reach_and_shows_no_key() -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "AKIAQQ", "AWS_SECRET_ACCESS_KEY": "very-secret"}
    with environment(CD4ML_S3_ENDPOINT="http://127.0.0.1:9", **secrets):
        found = looked(Settings(store="s3://models/x"), "store")
    assert found["read"].exit_code == found["compare-and-swap"].exit_code == 6
    shown = repr(found)
    assert "very-secret" not in shown and "AKIAQQ" not in shown


def test_keys_are_named_by_id_and_never_shown() -> None:
    (private, public), (_, other) = generate_keypair(), generate_keypair()
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        assert {one.status for one in looked(Settings(), "signing").values()} == {"warn"}
    with environment(**{SIGNING_KEY: private, VERIFY_KEY: public}):
        both = looked(Settings(), "signing")
    assert {one.status for one in both.values()} == {"ok"}
    assert both["signing key"].found.removeprefix("key ") in both["verify keys"].found
    with environment(**{SIGNING_KEY: private, VERIFY_KEY: other}):
        strange = looked(Settings(), "signing")["verify keys"]
    assert strange.status == "fail" and "is not among them" in strange.found
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: public}):
        assert looked(Settings(), "signing")["verify keys"].status == "ok"
    with environment(**{SIGNING_KEY: "very-secret", VERIFY_KEY: "very-secret"}):
        wrong = looked(Settings(), "signing")
    assert {one.status for one in wrong.values()} == {"fail"}
    assert "very-secret" not in repr(wrong)


def test_a_dead_pipelines_server_is_out_of_reach_and_none_is_skipped() -> None:
    found = looked(Settings("ci", kfp_host="http://127.0.0.1:9"), "pipelines")["server"]
    assert (found.status, found.exit_code, found.needed) == ("fail", 6, True)
    assert "port-forward" in found.fix
    absent = looked(Settings("ci"), "pipelines")["server"]
    assert absent.status == "skipped" and "KFP_HOST" in absent.fix


class Pipelines(BaseHTTPRequestHandler):
    """Answers as the API server of Kubeflow Pipelines does when it is asked how it is."""

    version = "2.5.0"

    def do_GET(self) -> None:
        said = {
            "/apis/v2beta1/healthz": b'{"multi_user": true}',
            "/apis/v1beta1/healthz": f'{{"tag_name": "{self.version}"}}'.encode(),
        }.get(self.path)
        self.send_response(200 if said else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(said or b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Old(Pipelines):
    version = "1.8.5"


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_pipelines_server_tells_its_version() -> None:
    with serving(Pipelines) as url:
        found = looked(Settings("ci", kfp_host=url), "pipelines")["server"]
    assert (found.status, found.found) == ("ok", "version 2.5.0, for several users")
    with serving(Old) as url:
        old = looked(Settings("ci", kfp_host=url), "pipelines")["server"]
    assert old.status == "fail" and "1.8.5" in old.found


def test_a_prometheus_that_is_not_there_fails_where_it_was_named() -> None:
    found = looked(Settings(prometheus="http://127.0.0.1:9"), "monitoring")["prometheus"]
    assert (found.status, found.exit_code, found.needed) == ("fail", 6, False)


RUNC = {"ociRuntime": {"name": "runc"}, "cgroupVersion": "v2"}


@pytest.mark.parametrize(
    ("host", "open_files", "may_raise", "configured", "has_range", "why"),
    [
        (RUNC, 1_048_576, False, False, False, ""),
        (RUNC, 4096, False, False, True, "4096 is the limit"),
        (RUNC, 4096, True, False, True, ""),
        (RUNC, 4096, False, True, True, ""),
        ({"ociRuntime": {"name": "crun"}, "cgroupVersion": "v1"}, 1_048_576, False, False, True, "hybrid"),
        ({"security": {"rootless": True}}, 1_048_576, False, False, False, "no subordinate ids"),
        ({"security": {"rootless": True}}, 1_048_576, False, False, True, ""),
    ],
)  # fmt: skip
def test_each_quirk_of_podman_is_told_with_what_mends_it(
    host, open_files, may_raise, configured, has_range, why
) -> None:
    found = podman_quirks(host, open_files, may_raise, configured, has_range)
    assert bool(found) == bool(why)
    assert all(why in reason and fix for reason, fix in found)


def test_every_check_has_its_area_and_one_name() -> None:
    from cd4ml.steps.doctor.run import checks

    found = checks(Settings())
    assert {check.area for check in found} == set(AREAS)
    assert len({(check.area, check.name) for check in found}) == len(found)
    for use in ("laptop", "containers", "cluster", "ci"):
        assert any(use in check.uses for check in found)
