"""`cd4ml rollout`: what it plans, refuses, shows and asks, without a plane that runs."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.cli.rollout_view import bar, panel
from cd4ml.delivery.local.plane import LocalPlane
from cd4ml.delivery.plane import DesiredService
from cd4ml.domain.rollout.state import Entry, Phase, Rollout, Target
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy
from cd4ml.steps.rollout import rollout_status
from cd4ml.steps.rollout_controller import BundleFolders, ProblemEvidence, local_controller
from tests.adapters.s3_server import environment
from tests.delivery.running_plane import bundle, variant

ACCESS = {
    "method": "POST", "path": "/v1/models/people:predict", "cluster": "people|stable", "request_id": "",
    "flags": "", "variant": "stable", "version": "1", "attempts": 1, "details": "via_upstream",
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    with environment(CD4ML_STORE=str(tmp_path / "store"), CD4ML_ACTOR="ann"), contextlib.chdir(tmp_path):
        registry = Registry(open_store())
        for number, verdict in ((0, "accept"), (1, "accept"), (2, "reject")):
            registry.push(bundle(number), "people", verdict=verdict)
        yield RolloutStore(open_store())


@pytest.fixture
def serving(store: RolloutStore) -> RolloutStore:
    """A plane that shall serve version 1; nothing runs."""
    stable = replace(variant(0), reference="people@1", version="1")
    LocalPlane(Path(".cd4ml/serve")).apply("people", DesiredService("people", stable))
    return store


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> tuple[str, str]:
    assert main(["rollout", *words]) == code
    found = capsys.readouterr()
    return found.out, found.err


def test_a_first_release_is_told_what_to_do(store: RolloutStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "`cd4ml serve people`" in said(capsys, 2, "start", "people@1")[1]
    assert "has no rollout" in said(capsys, 2, "status", "people")[1]
    assert store.services() == []


def test_what_cannot_be_rolled_out_is_refused(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the verdict is 'reject'" in said(capsys, 3, "start", "people@3")[1]
    assert "serves people@1 already" in said(capsys, 2, "start", "people@1")[1]
    assert "say one of them" in said(capsys, 2, "start", "people@2", "--run", "--detach")[1]
    Path("wrong.yaml").write_text("alpha: 2")
    assert "rollout policy's alpha" in said(capsys, 2, "start", "people@2", "--policy", "wrong.yaml")[1]
    assert "cannot be read" in said(capsys, 2, "start", "people@2", "--policy", "none.yaml")[1]
    assert main(["serve", "set", "people", "--canary", "@2", "--no-wait"]) == 0
    assert "set by hand" in said(capsys, 2, "start", "people@2")[1]
    assert serving.services() == []


def test_the_same_start_is_the_same_rollout_until_it_has_ended(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first = json.loads(said(capsys, 0, "start", "people@2", "--json")[0])["rollout"]["id"]
    assert json.loads(said(capsys, 0, "start", "people@2", "--json")[0])["rollout"]["id"] == first
    stored = serving.current("people")
    assert (stored.rollout.model, stored.rollout.stable.version) == ("people", "1")
    assert main(["serve", "set", "people", "--weight", "0"]) == 2
    assert "rollout abort" in capsys.readouterr().err
    serving.save(stored, replace(stored.rollout, phase=Phase.ABORTED))
    second = json.loads(said(capsys, 0, "start", "people@2", "--json")[0])["rollout"]["id"]
    assert second != first
    assert serving.ids("people") == sorted([first, second])


def test_commands_need_a_reason_and_a_meaning(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, 0, "start", "people@2")
    assert "needs a reason" in said(capsys, 2, "pause", "people")[1]
    assert "means nothing" in said(capsys, 2, "skip", "people", "--reason", "x")[1]
    out, _ = said(capsys, 0, "abort", "people", "--reason", "wrong version", "--by", "bob")
    assert "the controller takes it up" in out
    asked = serving.commands(serving.current("people").rollout)
    assert [(one.command, one.by, one.reason) for one in asked] == [("abort", "bob", "wrong version")]
    out, _ = said(capsys, 0, "status", "people")
    assert "abort by bob" in out and "nobody: start `cd4ml rollout run`" in out
    main(["audit", "list", "--kind", "rollout_command"])
    assert "bob" in capsys.readouterr().out


def test_the_end_has_an_exit_code(serving: RolloutStore, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, 0, "start", "people@2")
    out, err = said(capsys, 6, "watch", "people", "--timeout", "0.1", "--interval", "0.1")
    assert "nobody looks after it" in err and out.count("\n") == 1
    stored = serving.current("people")
    end = Entry(time.time(), Phase.ROLLED_BACK, 0.0, "controller", ("errors: worse",))
    stored = serving.save(stored, replace(stored.rollout, phase=Phase.ROLLED_BACK, history=(end,)))
    assert "errors: worse" in said(capsys, 5, "watch", "people")[1]
    serving.save(stored, replace(stored.rollout, phase=Phase.PROMOTED))
    said(capsys, 0, "watch", "people")
    assert "has ended" in said(capsys, 2, "abort", "people", "--reason", "x")[1]
    out, _ = said(capsys, 0, "history", "people")
    assert "rolled_back" in out and "errors: worse" in out


def test_a_plan_is_shown_or_refused(serving: RolloutStore, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(
        capsys, 0, "plan", "people", "--requests-per-second", "50", "--error-rate", "0.01", "--json"
    )
    found = json.loads(out)
    assert [one["phase"] for one in found["steps"]] == ["shadow", "canary", "canary", "canary"]
    out, _ = said(capsys, 0, "plan", "bike-demand", "--requests-per-second", "50", "--error-rate", "0.01")
    assert "to find harm" in out
    slow = said(capsys, 2, "plan", "people", "--requests-per-second", "0.001")
    assert "set step_seconds to" in slow[1]
    assert "too few to tell" in said(capsys, 2, "plan", "people")[1]
    assert "neither a service" in said(capsys, 2, "plan", "nothing")[1]


def test_a_plan_takes_the_traffic_of_the_gateway(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = LocalPlane(Path(".cd4ml/serve")).state.logs
    logs.mkdir(parents=True)
    now = time.time()
    lines = []
    for number in range(100):
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now - 100 + number))
        line = {
            **ACCESS,
            "id": f"r{number}",
            "time": at,
            "status": 500 if number < 5 else 200,
            "milliseconds": 9,
        }
        lines.append(json.dumps(line))
    (logs / "access.jsonl").write_text("\n".join(lines) + "\n")
    found = json.loads(said(capsys, 0, "plan", "people", "--json")[0])
    assert found["requests_per_second"] == pytest.approx(1.0, rel=0.05)
    assert found["error_fraction"] == pytest.approx(0.05)


def test_the_page_has_the_evidence_as_it_grew(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, 0, "start", "people@2")
    rollout = serving.current("people").rollout
    one = {
        "name": "errors <b>",
        "harm": 0.1,
        "safe": None,
        "units": 9,
        "estimate": 1.0,
        "low": 0.5,
        "high": 2.0,
    }
    points = [
        {
            "at_seconds": 1e9 + second, "phase": "canary", "step": second // 5, "percent": 5.0, "requests": 9,
            "elapsed_seconds": 1.0, "holds": [], "evidence": [{**one, "harm": second / 5, "holds": []}],
        }
        for second in range(10)
    ]  # fmt: skip
    unbounded = {**points[-1]["evidence"][0], "name": "loss", "high": None, "estimate": None, "safe": 1.0}
    points[-1]["evidence"].append(unbounded)
    serving.keep(rollout, "trail", {"points": points})
    serving.keep(rollout, "look", points[-1])
    console = Console(file=StringIO(), width=160)
    console.print(panel(rollout_status("people")))
    assert "people@2 for people@1: verify" in console.file.getvalue()
    out, _ = said(capsys, 0, "status", "people", "--html", "page.html")
    assert "watched alone" in out and "0.5 to 2" in out
    page = Path("page.html").read_text()
    assert "Errors &lt;b&gt;" in page and "<b>" not in page.partition("<body>")[2]
    assert page.count("<svg") == 4  # the share, harm of both, safety of one
    assert "Estimate none yet from 9 observations" in page
    assert "http" not in page.partition("</style>")[2]


def test_a_bar_goes_to_its_limit() -> None:
    assert bar(0.0, 0.05).startswith("····")
    assert bar(100.0, 0.05).startswith("█" * 20)
    assert bar(None, 0.05) == "watched alone"


def test_a_plane_that_does_not_run_holds(serving: RolloutStore, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, 0, "start", "people@2")
    found = local_controller(LocalPlane(Path(".cd4ml/serve"))).tick("people")
    assert found.phase is Phase.VERIFY
    assert "the supervisor does not run; start it with `cd4ml serve`" in found.waiting[0]
    desired = LocalPlane(Path(".cd4ml/serve")).state.desired("people")
    assert desired is not None and desired[0].canary is not None
    assert (desired[0].canary.version, desired[0].canary_percent, desired[0].fence) == ("2", 0, 1)


def test_the_controller_ends_when_all_that_it_was_given_has(
    serving: RolloutStore, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, 0, "start", "people@2")
    stored = serving.current("people")
    serving.save(stored, replace(stored.rollout, phase=Phase.PROMOTED, converged_at_seconds=1.0))
    before = signal.getsignal(signal.SIGTERM)
    _, err = said(capsys, 0, "run", "people", "--until-ended", "--interval", "0.05")
    assert "people: promoted" in err
    assert signal.getsignal(signal.SIGTERM) is before
    assert "needs the names" in said(capsys, 2, "run", "--until-ended")[1]


def test_bundles_come_from_the_registry_where_they_are_not_here(
    serving: RolloutStore, tmp_path: Path
) -> None:
    folders = BundleFolders(Registry(open_store()), tmp_path / "fetched")
    here = folders.of_target(Target("people@2", "2", "b" * 64, "s3://bucket/bundles/b"))
    assert here.parent == tmp_path / "fetched" and (here / "contract.json").is_file()
    with pytest.raises(UsageError, match="not in 'gone' any more"):
        folders.of_target(Target("out/bundle", "abcdef", "b" * 64, "gone"))
    rollout = Rollout(
        "r", "people", Target("people@2", "2", "b" * 64, str(here)), Target("people@1", "1", "")
    )
    source = ProblemEvidence(tmp_path, folders)
    assert source.collect(replace(rollout, phase=Phase.VERIFY), Policy(), 1.0).evidence == ()
