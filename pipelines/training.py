"""From sources to a judged, registered model."""

from typing import Any, Dict

from kfp import dsl

from components.data.features.component import features
from components.data.fingerprint.component import fingerprint
from components.data.resolve.component import resolve
from components.data.snapshot.component import snapshot
from components.delivery.package.component import package
from components.delivery.register.component import register
from components.evaluation.judge.component import judge
from components.evaluation.report.component import report
from components.evaluation.score.component import score
from components.training.choose.component import choose
from components.training.plan.component import plan
from components.training.search.component import search
from pipelines._tasks import on_cluster, with_signing_key, with_store

__all__ = ["training"]


def _searched(keyed: Dict[str, Any], dataset: Any) -> Any:
    """Search all families, each in a task of its own; return the chosen model."""
    planned = on_cluster(plan(**keyed, dataset=dataset), "Plan the search")
    with dsl.ParallelFor(planned.output, name="Search") as item:
        found = on_cluster(
            search(problem=keyed["problem"], dataset=dataset, item=item), "Search a family", size="large"
        )
    results = dsl.Collected(found.outputs["result"])
    chosen = choose(**keyed, dataset=dataset, results=results)
    return on_cluster(chosen, "Choose and fit", size="large").outputs["model"]


@dsl.pipeline(name="cd4ml-training", display_name="Train, judge and register a model")
def training(
    problem: str = "sales-forecast",
    data: str = "s3://cd4ml/data/sales-forecast",
    store: str = "s3://cd4ml/store",
    previous: str = "",
    git_commit: str = "",
    git_branch: str = "",
) -> None:
    """Take data to a judged model in the registry; a rejected model leaves its report and nothing else.

    Args:
        problem: Name of a shipped problem (adult-income, bike-demand, sales-forecast) or URL of a file.
        data: Object-store or web address under which the problem finds its sources.
        store: s3:// address in which snapshots, models and events are kept.
        previous: JSON of the hashes that the last run depended on, or empty for none.
        git_commit: Commit of the code that asks for the run, or empty.
        git_branch: Its branch, or empty.
    """
    prints = with_store(on_cluster(fingerprint(problem=problem, data=data), "Fingerprint", cached=False))
    # Hashes travel as a parameter: on a cluster they are what tells the cache that content has changed.
    resolved = with_store(on_cluster(resolve(problem=problem, fingerprint=prints.output), "Problem"))
    keyed = {"problem": resolved.outputs["normalised"], "fingerprint": prints.output}
    taken = with_store(on_cluster(snapshot(**keyed, data=data, store=store), "Snapshot", size="medium"))
    inputs = {**keyed, "snapshot": taken.outputs["snapshot"]}
    inputs["dataset"] = on_cluster(features(**inputs), "Features", size="medium").outputs["dataset"]
    inputs["model"] = _searched(keyed, inputs["dataset"])
    inputs["evaluation"] = on_cluster(score(**inputs), "Score", size="medium").outputs["evaluation"]
    packed = on_cluster(
        package(**inputs, git_commit=git_commit, git_branch=git_branch), "Package", size="medium"
    )
    bundle, checks = with_signing_key(packed).outputs["bundle"], packed.outputs["checks"]
    # Verdict and report are never taken from a cache: they speak of this run's bundle.
    made = {name: one for name, one in inputs.items() if name != "fingerprint"} | {"checks": checks}
    model = made.pop("model")
    judged = on_cluster(judge(**made, bundle=bundle, previous=previous), "Judge", cached=False)
    verdict = judged.outputs["verdict"]
    with dsl.If(judged.outputs["Output"] != "reject", name="Not rejected"):
        kept = {"problem": made["problem"], "evaluation": made["evaluation"], "verdict": verdict}
        with_store(on_cluster(register(**kept, bundle=bundle, store=store), "Register", cached=False))
    on_cluster(report(**made, model=model, bundle=bundle, verdict=verdict), "Report", cached=False)
