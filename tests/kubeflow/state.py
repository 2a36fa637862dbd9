"""What an API server of Kubeflow Pipelines keeps, and what each of its calls does to it."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import yaml

from tests.kubeflow.listing import DENIED, EXISTS, INVALID, NOT_FOUND, ApiError, page_of
from tests.kubeflow.running import Play, Running

START = datetime(2026, 1, 1, tzinfo=UTC)


def taken(kind, body):
    text = f"Failed to create a new {kind}. The name {body['display_name']} already exists."
    return ApiError(EXISTS, f"Already exist error: {text} Please specify a new name")


class State:
    """Every public method is a call of the API, named as the client names it."""

    def __init__(self, multi_user=False, namespaces=()):
        self.multi_user, self.namespaces = multi_user, frozenset(namespaces)
        self.pipelines, self.versions, self.experiments, self.runs, self.recurring = {}, {}, {}, {}, {}
        self.under_way, self.play, self.clock = {}, Play(), itertools.count()

    def now(self):
        return (START + timedelta(seconds=next(self.clock))).isoformat().replace("+00:00", "Z")

    def allowed(self, namespace):
        """Refuse what a caller of a multi-user installation may not see."""
        if self.multi_user and not namespace:
            raise ApiError(
                INVALID, "Invalid input error: A resource cannot have an empty namespace in multi-user mode"
            )
        if self.multi_user and namespace not in self.namespaces:
            raise ApiError(
                DENIED, f"User 'someone' is not authorized with reason: no access to namespace {namespace}"
            )
        return namespace

    def get(self, kind, items, key):
        if key not in items:
            raise ApiError(NOT_FOUND, f"{kind} {key} not found")
        return items[key]

    # Pipelines

    def pipeline_service_create_pipeline(self, body, **_):
        namespace = body.get("namespace", "")
        if namespace:
            self.allowed(namespace)
        for one in self.pipelines.values():
            if (one["display_name"], one.get("namespace", "")) == (body["display_name"], namespace):
                raise taken("pipeline", body)
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "name": body["display_name"],
            "created_at": self.now(),
            **body,
        }
        self.pipelines[made["pipeline_id"]] = made
        return made

    def pipeline_service_get_pipeline(self, pipeline_id, **_):
        return self.get("Pipeline", self.pipelines, pipeline_id)

    def pipeline_service_list_pipelines(self, namespace="", **query):
        found = [one for one in self.pipelines.values() if one.get("namespace", "") in ("", namespace)]
        return page_of("pipelines", found, query)

    def pipeline_service_list_pipeline_versions(self, pipeline_id, **query):
        self.get("Pipeline", self.pipelines, pipeline_id)
        found = [one for one in self.versions.values() if one["pipeline_id"] == pipeline_id]
        return page_of("pipeline_versions", found, query)

    def pipeline_service_get_pipeline_version(self, pipeline_id, pipeline_version_id, **_):
        return self.get("PipelineVersion", self.versions, pipeline_version_id)

    def upload_pipeline_version(self, body, pipelineid="", name="", description="", **_):
        self.get("Pipeline", self.pipelines, pipelineid)
        documents = list(yaml.load_all(body, Loader=yaml.CSafeLoader))
        if not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
            raise ApiError(INVALID, "Invalid input error: unknown template format")
        if any(one["pipeline_id"] == pipelineid and one["name"] == name for one in self.versions.values()):
            raise ApiError(EXISTS, "Failed to create a pipeline version")
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        made = {
            "pipeline_id": pipelineid, "pipeline_version_id": str(uuid.uuid4()),
            "display_name": name, "name": name, "description": description, "created_at": self.now(),
            "pipeline_spec": spec,
        }  # fmt: skip
        self.versions[made["pipeline_version_id"]] = made
        return made

    def spec(self, reference):
        version = self.get("PipelineVersion", self.versions, reference["pipeline_version_id"])
        return version["pipeline_spec"].get("pipeline_spec", version["pipeline_spec"])

    # Experiments

    def experiment_service_create_experiment(self, body, **_):
        namespace = self.allowed(body.get("namespace", ""))
        for one in self.experiments.values():
            if (one["display_name"], one.get("namespace", "")) == (body["display_name"], namespace):
                raise taken("experiment", body)
        made = {
            "experiment_id": str(uuid.uuid4()),
            "created_at": self.now(),
            "storage_state": "AVAILABLE",
            **body,
        }
        self.experiments[made["experiment_id"]] = made
        return made

    def experiment_service_get_experiment(self, experiment_id, **_):
        return self.get("Experiment", self.experiments, experiment_id)

    def experiment_service_list_experiments(self, namespace="", **query):
        self.allowed(namespace)
        found = [one for one in self.experiments.values() if one.get("namespace", "") == namespace]
        return page_of("experiments", found, query)

    # Runs

    def run_service_create_run(self, body, **_):
        made = self.made(
            body, {"run_id": str(uuid.uuid4()), "state": "PENDING", "storage_state": "AVAILABLE"}
        )
        self.runs[made["run_id"]] = made
        spec = self.spec(body["pipeline_version_reference"])
        self.under_way[made["run_id"]] = Running(made["run_id"], spec, self.play)
        return made

    def made(self, body, own):
        """Return a run or a recurring run, when what it refers to is there."""
        if not body.get("display_name"):
            raise ApiError(INVALID, "Invalid input error: The run name is empty. Please specify a valid name")
        experiment = self.get("Experiment", self.experiments, body.get("experiment_id", ""))
        self.allowed(experiment.get("namespace", ""))
        self.check(
            self.spec(body["pipeline_version_reference"]),
            body.get("runtime_config", {}).get("parameters", {}),
        )
        return {**body, **own, "created_at": self.now()}

    def check(self, spec, given):
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in given.keys() - known.keys():
            raise ApiError(INVALID, f"Invalid input error: parameter {name} is not an input of the pipeline")
        for name, one in known.items():
            if name not in given and not one.get("isOptional"):
                raise ApiError(INVALID, f"Invalid input error: missing parameter {name}")

    def run_service_get_run(self, run_id, **_):
        run = self.get("Run", self.runs, run_id)
        if run["state"] not in ("SUCCEEDED", "FAILED", "CANCELED"):
            run["state"], rows = self.under_way[run_id].look()
            run["run_details"] = {"task_details": rows} if self.play.tells_tasks else {}
        return run

    def run_service_list_runs(self, namespace="", experiment_id="", **query):
        if experiment_id:
            namespace = self.get("Experiment", self.experiments, experiment_id).get("namespace", "")
        self.allowed(namespace)
        found = [
            one
            for one in self.runs.values()
            if one["experiment_id"] == experiment_id
            or (
                not experiment_id and self.experiments[one["experiment_id"]].get("namespace", "") == namespace
            )
        ]
        return page_of("runs", found, query)

    def run_service_terminate_run(self, run_id, **_):
        run = self.get("Run", self.runs, run_id)
        if run["state"] in ("SUCCEEDED", "FAILED", "CANCELED"):
            raise ApiError(INVALID, f"Failed to terminate run {run_id}: it has finished")
        self.under_way[run_id].cancelled = True
        return {}

    def log(self, run_id, pod):
        self.get("Run", self.runs, run_id)
        return self.under_way[run_id].log(pod)

    # Recurring runs

    def recurring_run_service_create_recurring_run(self, body, **_):
        trigger = body.get("trigger", {})
        cron = trigger.get("cron_schedule", {}).get("cron", "")
        if cron and len(cron.split()) != 6 and not cron.startswith("@"):
            raise ApiError(INVALID, f"Schedule cron is not a supported format: {cron}")
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise ApiError(INVALID, "The max concurrency of the recurring run must be between 1 and 10")
        own = {
            "recurring_run_id": str(uuid.uuid4()),
            "status": "ENABLED" if body["mode"] == "ENABLE" else "DISABLED",
        }
        made = self.made(body, own)
        made["namespace"] = self.experiments[body["experiment_id"]].get("namespace", "")
        self.recurring[made["recurring_run_id"]] = made
        return made

    def recurring_run_service_list_recurring_runs(self, namespace="", **query):
        self.allowed(namespace)
        found = [one for one in self.recurring.values() if one["namespace"] == namespace]
        return page_of("recurring_runs", found, query)

    def recurring_run_service_enable_recurring_run(self, recurring_run_id, **_):
        self.get("RecurringRun", self.recurring, recurring_run_id)["status"] = "ENABLED"
        return {}

    def recurring_run_service_disable_recurring_run(self, recurring_run_id, **_):
        self.get("RecurringRun", self.recurring, recurring_run_id)["status"] = "DISABLED"
        return {}

    def recurring_run_service_delete_recurring_run(self, recurring_run_id, **_):
        self.get("RecurringRun", self.recurring, recurring_run_id)
        del self.recurring[recurring_run_id]
        return {}

    def healthz_service_get_healthz(self, **_):
        return {"multi_user": self.multi_user, "pipeline_store": "database"}
