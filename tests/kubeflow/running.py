"""How a run goes on: each look at it finds it further, and its tasks are those of the compiled pipeline."""

from dataclasses import dataclass, field
from graphlib import TopologicalSorter

LOOKS = 4
DEFAULT_LOG = "I0101 main.go: executing\n"


@dataclass
class Play:
    """What is to happen in the runs of a server.

    Attributes
    ----------
    logs : dict of str to str
        By task that fails: what its pod printed.
    skipped : set of str
        Tasks whose condition does not hold.
    tells_errors : bool
        Whether tasks carry their error: the field is in the API, and servers of today leave it empty.
    tells_tasks : bool
        Whether a run comes with its tasks; later servers leave them out unless they are asked for in full.
    held : bool
        Whether runs stay as they are.
    """

    logs: dict = field(default_factory=dict)
    skipped: set = field(default_factory=set)
    tells_errors: bool = False
    tells_tasks: bool = True
    held: bool = False


def order_of(spec):
    """Return the tasks of a pipeline, each behind those it depends on."""
    tasks = spec["root"].get("dag", {}).get("tasks", {})
    return list(
        TopologicalSorter({key: one.get("dependentTasks", []) for key, one in tasks.items()}).static_order()
    )


class Running:
    """One run under way: `look()` moves it on and returns its state and rows."""

    def __init__(self, run_id, spec, play):
        self.tasks, self.play, self.id = order_of(spec), play, run_id
        self.workflow = f"{spec['pipelineInfo']['name']}-{run_id[:5]}"
        self.looks, self.cancelled = 0, False

    def pod(self, name, task=True):
        """Return the name of the node of a task; its pod has the template in its name too."""
        number = sum(ord(letter) * 31**place for place, letter in enumerate(f"{name}{task}")) % 10**9
        return f"{self.workflow}-{number}"

    def log(self, pod):
        """Return what a pod printed; KeyError when there is no such pod."""
        pods = {
            self.pod(name).replace(self.workflow, f"{self.workflow}-system-container-impl"): name
            for name in self.tasks
        }
        return self.play.logs.get(pods[pod], DEFAULT_LOG)

    def look(self):
        if not self.play.held:
            self.looks += 1
        if self.cancelled:
            return ("CANCELING" if self.looks < LOOKS else "CANCELED"), self.rows(
                len(self.tasks) // 2, "CANCELED"
            )
        done = len(self.tasks) * max(self.looks - 1, 0) // LOOKS
        failing = [index for index, name in enumerate(self.tasks) if name in self.play.logs]
        if failing and done > failing[0]:
            return "FAILED", self.rows(failing[0], "FAILED")
        if self.looks > LOOKS:
            return "SUCCEEDED", self.rows(len(self.tasks), "")
        return ("RUNNING" if self.looks > 1 else "PENDING"), self.rows(
            done, "RUNNING" if self.looks > 1 else ""
        )

    def rows(self, done, current):
        """Return task details as of real servers: drivers beside tasks, the pod told by the task above it."""
        rows = [{"display_name": "root", "state": current or "SUCCEEDED"}]
        for index, name in enumerate(self.tasks[: done + bool(current)]):
            state = "SUCCEEDED" if index < done else current
            state = "SKIPPED" if name in self.play.skipped and state == "SUCCEEDED" else state
            rows.append(self.row(f"{name}-driver", "SUCCEEDED", [self.pod(name, task=False)]))
            rows.append(self.row(name, state, [self.pod(name)]))
            rows.append({"display_name": "executor", "state": state})
            if self.play.tells_errors and state == "FAILED":
                last = self.play.logs[name].strip().splitlines()[-1]
                rows[-2]["error"] = {"code": 2, "message": last}
        return [{"run_id": self.id, "task_id": f"task-{index}", **row} for index, row in enumerate(rows)]

    def row(self, name, state, pods):
        return {"display_name": name, "state": state, "child_tasks": [{"pod_name": pod} for pod in pods]}
