"""From sources to a judged, registered model."""

from kfp import dsl

from components.data.features.component import features
from components.data.fingerprint.component import fingerprint
from components.data.snapshot.component import snapshot
from components.delivery.package.component import package
from components.delivery.register.component import register
from components.evaluation.judge.component import judge
from components.evaluation.report.component import report
from components.evaluation.score.component import score
from components.training.choose.component import choose
from components.training.plan.component import plan
from components.training.search.component import search
from pipelines._tasks import on_cluster

__all__ = ["training"]


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
    prints = on_cluster(fingerprint(problem=problem, data=data), "Fingerprint", cached=False)
    # Hashes travel as a parameter: on a cluster they are what tells the cache that content has changed.
    keyed = {"problem": prints.outputs["normalised"], "fingerprint": prints.outputs["Output"]}
    taken = on_cluster(snapshot(**keyed, data=data, store=store), "Snapshot", cores=2, gibibytes=8)
    made = {"problem": keyed["problem"], "snapshot": taken.outputs["snapshot"]}
    built = on_cluster(features(**keyed, snapshot=made["snapshot"]), "Features", cores=2, gibibytes=8)
    made["dataset"] = built.outputs["dataset"]
    planned = on_cluster(plan(**keyed, dataset=made["dataset"]), "Plan the search")
    with dsl.ParallelFor(planned.output, name="Search") as item:
        found = on_cluster(
            search(problem=made["problem"], dataset=made["dataset"], item=item),
            "Search a family",
            cores=4,
            gibibytes=8,
        )
    chosen = on_cluster(
        choose(**keyed, dataset=made["dataset"], results=dsl.Collected(found.outputs["result"])),
        "Choose and fit",
        cores=4,
        gibibytes=8,
    )
    scored = on_cluster(
        score(**made, model=chosen.outputs["model"], fingerprint=keyed["fingerprint"]),
        "Score",
        cores=2,
        gibibytes=8,
    )
    made["evaluation"] = scored.outputs["evaluation"]
    packed = on_cluster(
        package(
            **made,
            model=chosen.outputs["model"],
            fingerprint=keyed["fingerprint"],
            git_commit=git_commit,
            git_branch=git_branch,
        ),
        "Package",
        cores=2,
        gibibytes=4,
    )
    results = {"checks": packed.outputs["checks"], "bundle": packed.outputs["bundle"]}
    # Verdict and report are never taken from a cache: they speak of this run's bundle.
    judged = on_cluster(judge(**made, **results, previous=previous), "Judge", cached=False)
    verdict = judged.outputs["verdict"]
    with dsl.If(judged.outputs["Output"] != "reject", name="Not rejected"):
        on_cluster(
            register(
                problem=made["problem"],
                bundle=results["bundle"],
                verdict=verdict,
                evaluation=made["evaluation"],
                store=store,
            ),
            "Register",
            cached=False,
        )
    on_cluster(
        report(**made, **results, model=chosen.outputs["model"], verdict=verdict), "Report", cached=False
    )
