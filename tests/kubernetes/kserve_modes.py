"""What KServe makes of an InferenceService, without any cluster: revisions or pods, traffic, status.

Both modes keep what serves until what is newer is ready. Time is told, never read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KnativeMode", "Pods", "Rules", "StandardMode", "mode_of"]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SCALE = ("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling")
_MODES = {"Knative": "Knative", "Serverless": "Knative", "Standard": "Standard", "RawDeployment": "Standard"}


@dataclass
class Rules:
    """What a test ordered: how long pods take, and which never come up."""

    ready_seconds: float = 0.0
    failing: set[str] = field(default_factory=set)
    gateway_api: bool = True
    splits: bool = True

    def fails(self, *texts: str) -> bool:
        return any(part in text for part in self.failing for text in texts)


@dataclass
class Pods:
    """The pods of one template."""

    name: str
    template: dict[str, Any]
    born_seconds: float
    was_ready: bool = False

    @property
    def location(self) -> str:
        return str((self.template["predictor"].get("model") or {}).get("storageUri", ""))

    def ready(self, rules: Rules, now: float) -> bool:
        """Ready once is ready for good: failures ordered later are of new pods."""
        in_time = now - self.born_seconds >= rules.ready_seconds
        self.was_ready = self.was_ready or (in_time and not rules.fails(self.location, self.name))
        return self.was_ready

    def failed(self, rules: Rules, now: float) -> bool:
        late = now - self.born_seconds >= rules.ready_seconds
        return not self.was_ready and late and rules.fails(self.location, self.name)


def mode_of(service: Mapping[str, Any], default: str) -> str:
    """The mode: the one in the status once there is one, then the annotation, then the cluster's."""
    recorded = (service.get("status") or {}).get("deploymentMode")
    asked = (service["metadata"].get("annotations") or {}).get("serving.kserve.io/deploymentMode")
    return _MODES[recorded or asked or default]


def _template(service: Mapping[str, Any], predictor: Mapping[str, Any]) -> dict[str, Any]:
    """What pods are made from: the predictor, and the marks of the service, which KServe copies to them."""
    metadata = service["metadata"]
    kept = {key: item for key, item in predictor.items() if key not in ("canaryTrafficPercent", "name")}
    marks = {key: item for key, item in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    return copy.deepcopy(
        {
            "predictor": kept,
            "annotations": marks | (predictor.get("annotations") or {}),
            "labels": {**(metadata.get("labels") or {}), **(predictor.get("labels") or {})},
        }
    )


def _condition(kind: str, state: bool | None, reason: str = "") -> dict[str, str]:
    word = "Unknown" if state is None else str(state)
    return {"type": kind, "status": word} | ({"reason": reason} if reason and not state else {})


def _together(states: list[bool | None]) -> bool | None:
    return False if False in states else None if None in states else True


def _urls(name: str, namespace: str) -> dict[str, Any]:
    return {
        "url": f"http://{name}.{namespace}.example.com",
        "address": {"url": f"http://{name}.{namespace}.svc.cluster.local"},
    }


def _model_status(newest_ready: bool, newest_failed: bool, any_ready: bool) -> dict[str, Any]:
    word = "UpToDate" if newest_ready else "BlockedByFailedLoad" if newest_failed else "InProgress"
    target = "Loaded" if newest_ready else "FailedToLoad" if newest_failed else "Pending"
    states = {"activeModelState": "Loaded" if any_ready else "", "targetModelState": target}
    return {"transitionStatus": word, "states": states}


@dataclass
class KnativeMode:
    """One InferenceService as Knative serves it: each template is a revision, traffic goes to revisions."""

    name: str
    namespace: str
    rules: Rules
    revisions: list[Pods] = field(default_factory=list)
    generation: int = 0
    rolled_out: str = ""
    previous: str = ""
    _asked: Any = None

    @property
    def started(self) -> int:
        """How often pods were started."""
        return len(self.revisions)

    def step(self, service: Mapping[str, Any], now: float) -> tuple[dict[str, Any], bool]:
        """Reconcile once. Return the status, and whether KServe would look again at once."""
        predictor = service["spec"]["predictor"]
        template = _template(service, predictor)
        if not self.revisions or self.revisions[-1].template != template:
            number = len(self.revisions) + 1
            self.revisions.append(Pods(f"{self.name}-predictor-{number:05d}", template, now))
        targets = self._targets(predictor.get("canaryTrafficPercent"), template)
        if (template, targets) != self._asked:
            self._asked = (template, targets)
            self.generation += 1
        ready = [pods for pods in self.revisions if pods.ready(self.rules, now)]
        traffic = self._traffic(targets, ready[-1].name) if ready else []
        before = self.rolled_out
        if ready:
            self._roll_out(traffic, ready[-1].name)
        return self._status(traffic, ready, now), before != self.rolled_out

    def _targets(self, percent: int | None, template: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What KServe asks Knative for; a percentage is ignored until something was rolled out."""
        latest: dict[str, Any] = {"latestRevision": True, "percent": 100}
        if template["annotations"].get("serving.kserve.io/enable-tag-routing") == "true":
            latest["tag"] = "latest"
        if percent is None or not self.rolled_out:
            return [latest]
        latest["percent"] = percent
        if percent >= 100:
            return [latest]
        rest = {"latestRevision": False, "percent": 100 - percent, "tag": "prev"}
        return [latest, rest | {"revisionName": self.rolled_out}]

    def _traffic(self, targets: list[dict[str, Any]], latest_ready: str) -> list[dict[str, Any]]:
        found = []
        for target in targets:
            entry = dict(target)
            entry.setdefault("revisionName", latest_ready)
            if "tag" in entry:
                entry["url"] = f"http://{entry['tag']}-{self.name}-predictor.{self.namespace}.example.com"
            found.append(entry)
        return found

    def _roll_out(self, traffic: list[dict[str, Any]], latest_ready: str) -> None:
        """Full traffic makes a revision the rolled-out one, and less than that after it goes one back.

        Going back is noticed by the traffic of both targets being with one and the same revision.
        """
        newest = traffic[0]
        if self.rolled_out != latest_ready:
            if newest["percent"] == 100:
                self.previous, self.rolled_out = self.rolled_out, latest_ready
        elif latest_ready == self.revisions[-1].name and newest["percent"] < 100 and self.previous:
            total = sum(entry["percent"] for entry in traffic if entry["revisionName"] == latest_ready)
            if total == 100:
                self.rolled_out = self.previous

    def _status(self, traffic: list[dict[str, Any]], ready: list[Pods], now: float) -> dict[str, Any]:
        newest = self.revisions[-1]
        failed = newest.failed(self.rules, now)
        state = True if newest in ready else False if failed else None
        routed = True if ready else state
        predictor: dict[str, Any] = {"latestCreatedRevision": newest.name, "traffic": traffic}
        if ready:
            predictor["latestReadyRevision"] = ready[-1].name
            predictor["url"] = f"http://{self.name}-predictor.{self.namespace}.example.com"
            address = f"http://{self.name}-predictor.{self.namespace}.svc.cluster.local"
            predictor["address"] = {"url": address}
        for key, word in (
            ("latestRolledoutRevision", self.rolled_out),
            ("previousRolledoutRevision", self.previous),
        ):
            predictor |= {key: word} if word else {}
        conditions = [
            _condition("IngressReady", routed),
            _condition("LatestDeploymentReady", state, "RevisionFailed" if failed else ""),
            _condition("PredictorConfigurationReady", state, "RevisionFailed" if failed else ""),
            _condition("PredictorReady", state, "RevisionFailed" if failed else ""),
            _condition("PredictorRouteReady", routed),
            _condition("Ready", _together([state, routed]), "RevisionFailed" if failed else ""),
        ]
        return {
            "components": {"predictor": predictor},
            "conditions": conditions,
            "deploymentMode": "Knative",
            "modelStatus": _model_status(newest in ready, failed, bool(ready)),
            "observedGeneration": self.generation,
        } | (_urls(self.name, self.namespace) if ready else {})


@dataclass
class _Deployment:
    """The pods of one predictor in Standard mode: the old ones serve until the new ones are ready."""

    pods: Pods
    generation: int = 1
    serves: bool = False


@dataclass
class StandardMode:
    """One InferenceService as plain Deployments: one a predictor, weights on the Gateway API's route."""

    name: str
    namespace: str
    rules: Rules
    deployments: dict[str, _Deployment] = field(default_factory=dict)
    started: int = 0

    def service_of(self, predictor: Mapping[str, Any]) -> str:
        """The name of a predictor's Deployment and Service."""
        own = predictor.get("name") or ""
        return f"{self.name}-{own}-predictor" if own else f"{self.name}-predictor"

    def step(self, service: Mapping[str, Any], now: float) -> tuple[dict[str, Any], bool]:
        """Reconcile once. `canaryTrafficPercent` means nothing here."""
        spec = service["spec"]
        canaries = spec.get("canary") or []
        wanted = {self.service_of(spec["predictor"]): spec["predictor"]}
        wanted |= {self.service_of(item["predictor"]): item["predictor"] for item in canaries}
        self.deployments = {name: item for name, item in self.deployments.items() if name in wanted}
        for name, predictor in wanted.items():
            self._deploy(name, _template(service, predictor), now)
        return self._status(spec, now), False

    def weights(self, spec: Mapping[str, Any]) -> dict[str, int]:
        """Where the route sends traffic: a canary that cannot serve gets none yet."""
        found = {}
        for item in spec.get("canary") or []:
            name = self.service_of(item["predictor"])
            takes = self.rules.splits and self.deployments[name].serves
            found[name] = int(item.get("trafficPercent") or 0) if takes else 0
        return {self.service_of(spec["predictor"]): 100 - sum(found.values())} | found

    def _deploy(self, name: str, template: dict[str, Any], now: float) -> None:
        found = self.deployments.get(name)
        if found is None:
            found = self.deployments[name] = _Deployment(Pods(name, template, now))
            self.started += 1
        elif _running(found.pods.template) != _running(template):
            found.pods, found.generation = Pods(name, template, now), found.generation + 1
            self.started += 1
        found.serves = found.pods.ready(self.rules, now) or found.serves

    def _status(self, spec: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Ready is that some pods serve, be they those of the model before, as with Deployments."""
        main = self.deployments[self.service_of(spec["predictor"])]
        told = []
        for item in spec.get("canary") or []:
            serves = self.deployments[self.service_of(item["predictor"])].serves
            entry = {"name": item["predictor"].get("name", ""), "ready": serves}
            told.append(entry | {"trafficPercent": int(item.get("trafficPercent") or 0)})
        conditions = [_condition("IngressReady", True if main.serves else None)]
        if told:
            all_ready = all(entry["ready"] for entry in told)
            conditions.insert(0, _condition("CanaryPredictorReady", all_ready, "CanaryNotReady"))
        conditions.append(_condition("PredictorReady", main.serves, "MinimumReplicasUnavailable"))
        conditions.append(_condition("Ready", main.serves, "MinimumReplicasUnavailable"))
        newest_ready = main.pods.ready(self.rules, now)
        status: dict[str, Any] = {
            "components": {"predictor": {}},
            "conditions": conditions,
            "deploymentMode": "Standard",
            "modelStatus": _model_status(newest_ready, main.pods.failed(self.rules, now), main.serves),
            "observedGeneration": main.generation,
        }
        status |= {"canaryStatuses": told} if told else {}
        return status | (_urls(self.name, self.namespace) if main.serves else {})


def _running(template: Mapping[str, Any]) -> dict[str, Any]:
    """What pods are made of: a change of anything but the number of them starts new ones."""
    predictor = template["predictor"]
    kept = {key: item for key, item in predictor.items() if key not in _SCALE}
    return {**template, "predictor": kept}
