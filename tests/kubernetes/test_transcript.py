"""The stand-in answers every recorded call as the real API server did.

CD4ML_TEST_TRANSCRIPTS is the folder of kube-apiserver.json, CD4ML_TEST_CRDS that of the definitions it was
recorded with. The calls build on one another, so one replay runs them all; a test of its own judges each.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.kubernetes.api_server import api_server
from tests.kubernetes.transcript import Heard, Replay, load, masked

_FOLDER = os.environ.get("CD4ML_TEST_TRANSCRIPTS", "")
_CRDS = os.environ.get("CD4ML_TEST_CRDS", "")
_RECORDING = Path(_FOLDER) / "kube-apiserver.json"
_CALLS = load(_RECORDING) if _FOLDER and _RECORDING.is_file() else []
_NUMBERED = [(number, call["name"]) for number, call in enumerate(_CALLS) if "request" in call]
_WATCHED = ("patch while watched", "watch events during the four calls above")

pytestmark = [
    pytest.mark.skipif(
        not _CALLS, reason="CD4ML_TEST_TRANSCRIPTS is not set: no recorded answers to compare with"
    ),
    pytest.mark.skipif(not _CRDS, reason="CD4ML_TEST_CRDS is not set: the recording needs its definitions"),
    pytest.mark.xdist_group("transcript"),
]


@dataclass
class Replayed:
    said: dict[int, Heard]
    expected: dict[int, Heard]
    events: list[dict[str, Any]]
    replay: Replay


class _Clock:
    """Every call of the recording up to the watch fell into one second, those after it into a later one."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 1, 37, 34, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def _as_sent(call: dict[str, Any]) -> dict[str, Any]:
    """The recorder filled in the missing name of one body after it was sent: take it out again."""
    if call["name"] != "Standard canary without predictor.model.name":
        return call
    call = copy.deepcopy(call)
    del call["request"]["body"]["spec"]["canary"][0]["predictor"]["model"]["name"]
    return call


def _watch(url: str, start: str, events: list[dict[str, Any]], opened: threading.Event) -> None:
    params = {"watch": "1", "resourceVersion": start, "allowWatchBookmarks": "true", "timeoutSeconds": "1"}
    path = "/apis/serving.kserve.io/v1beta1/namespaces/tr/inferenceservices"
    with requests.get(url + path, params=params, stream=True, timeout=10) as answer:
        opened.set()
        events += [json.loads(line) for line in answer.iter_lines() if line]


def _summary(event: dict[str, Any]) -> dict[str, Any]:
    document = event["object"]
    metadata = document["metadata"]
    told = {key: metadata.get(key) for key in ("name", "resourceVersion", "labels")}
    return {"type": event["type"], "object": {"kind": document["kind"], "metadata": told}}


@pytest.fixture(scope="module")
def replayed() -> Iterator[Replayed]:
    clock, events, opened = _Clock(), list[dict[str, Any]](), threading.Event()
    with api_server(_CRDS, clock=clock, namespaces=(), first_version=629) as server:
        replay = Replay(server.url)
        found = Replayed({}, {}, events, replay)
        watcher = threading.Thread()
        for number, call in enumerate(map(_as_sent, _CALLS)):
            if call["name"] == _WATCHED[0]:
                clock.now += timedelta(seconds=6)
                watcher = threading.Thread(
                    target=_watch, args=(server.url, replay.version("642"), events, opened)
                )
                watcher.start()
                assert opened.wait(5)
            if call["name"] == _WATCHED[1]:
                watcher.join(10)
            if "request" in call:
                found.said[number] = replay.call(call)
                found.expected[number] = replay.expected(call)
        yield found


@pytest.mark.parametrize("number", [pytest.param(number, id=name) for number, name in _NUMBERED])
def test_the_stand_in_answers_as_the_real_server_did(replayed: Replayed, number: int) -> None:
    said, expected = replayed.said[number], replayed.expected[number]
    assert masked(asdict(said)) == masked(asdict(expected))


def test_a_watch_sees_the_changes_the_deletion_and_a_bookmark(replayed: Replayed) -> None:
    expected = next(call["events"] for call in _CALLS if call["name"] == _WATCHED[1])
    for event in expected:
        metadata = event["object"]["metadata"]
        metadata["resourceVersion"] = replayed.replay.version(metadata["resourceVersion"])
    said = [_summary(event) for event in replayed.events]
    versions = [int(event["object"]["metadata"].pop("resourceVersion")) for event in said]
    for event in expected:
        event["object"]["metadata"].pop("resourceVersion")
    assert said == expected
    assert versions[0] < versions[1] == versions[2]


def test_resource_versions_come_in_the_order_of_the_recording(replayed: Replayed) -> None:
    pairs = sorted((int(theirs), int(ours)) for theirs, ours in replayed.replay.versions.items())
    assert len(pairs) > 10
    assert all(later[1] > earlier[1] for earlier, later in pairwise(pairs))
