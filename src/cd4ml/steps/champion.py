"""The champion on the challenger's holdout, and the two against each other."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import Cd4mlError, IntegrityError, ServiceError
from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.domain.ratchet_gates import Ratchet
    from cd4ml.problem import Problem
    from cd4ml.tables.dataset import Dataset
    from cd4ml.tables.facts import Facts

__all__ = ["compare_champion", "score_champion"]

_COPIED = ("contract.json", "data.json", "lineage.json", "model.json", "problem.json")
"""Files of the bundle that tell later steps what changed since."""


def score_champion(problem: Path, snapshot: Path, dataset: Path, store: str, out: Path) -> dict[str, Any]:
    """Predict the holdout with the model that the registry names champion; write and return champion.json.

    Its bundle is pulled and verified, and makes its own features of the holdout's raw rows. `out` gets
    champion.json; where it could be scored predictions.npy (float64, in the order of the holdout),
    decisions.npy (0 or 1, for classification) and quantile.npy (with stock); and where it could be pulled
    what the bundle says of itself.

    Parameters
    ----------
    problem, snapshot, dataset : Path
        What the steps before wrote.
    store : str
        Where the registry is; "" for CD4ML_STORE.
    out : Path
        Folder to write.

    Returns
    -------
    dict
        "status": "scored", "first_release" when no version has the alias, or "unreadable" when it has one
        that cannot be verified or scored: then the gate fails. "reason" and "warning" are sentences;
        "version" is what the alias named, and must still name when it is moved.

    Raises
    ------
    ServiceError
        If the store cannot be reached: trying again may help, so this is no verdict.
    """
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import atomic, open_store
    from cd4ml.models.champion import holdout_facts
    from cd4ml.tables.dataset import Dataset

    found, data, registry = problem_of(problem), Dataset.load(dataset), Registry(open_store(store or None))
    with atomic.directory(out) as folder, tempfile.TemporaryDirectory(prefix="cd4ml-") as scratch:
        document, version = _named(registry, found)
        if version is not None:
            held = holdout_facts(found, snapshot, data.role)
            try:
                document |= _scored(found, snapshot, data, held, registry, version, folder, Path(scratch))
            except ServiceError:
                raise
            except Cd4mlError as error:
                document |= _unreadable(document, _without_path(str(error), scratch, document))
        atomic.write_json(folder / "champion.json", document)
    return document


def _named(registry: Registry, problem: Problem) -> tuple[dict[str, Any], ModelVersion | None]:
    """Return what champion.json begins with, and the version that the alias names."""
    from cd4ml.domain.ratchet_limits import Limit

    alias, name = problem.champion.alias, problem.name
    document: dict[str, Any] = {"alias": alias, "name": name, "version": None, "bundle": None}
    document |= {"warning": "", "limits": {}, "schema": {"lacking": []}, "rows": 0}
    try:
        number = registry.aliases(name).get(alias)
        if number is None:
            return document | _first_release(registry, name, alias), None
        document["version"] = number
        version = registry.get(name, number)
        limits = {metric: Limit.from_dict(limit).to_dict() for metric, limit in version.limits.items()}
    except ServiceError:
        raise
    except Cd4mlError as error:
        return document | _unreadable(document, str(error)), None
    return document | {"bundle": version.bundle, "limits": limits}, version


def _without_path(text: str, scratch: str, document: dict[str, Any]) -> str:
    """Return a message in which the champion has its name in place of a folder that is gone."""
    return re.sub(rf"'?{re.escape(scratch)}[^\s']*'?", f"'{document['name']}@{document['alias']}'", text)


def _unreadable(document: dict[str, Any], why: str) -> dict[str, Any]:
    name, alias, version = document["name"], document["alias"], document["version"]
    which = f"'{name}@{alias}'" if version is None else f"'{name}@{alias}', version {version},"
    reason = (
        f"the champion {which} cannot be compared with: {why}. Restore it, or begin anew with"
        f" `cd4ml models alias {name} {alias} --remove`"
    )
    return {"status": "unreadable", "reason": reason}


def _first_release(registry: Registry, name: str, alias: str) -> dict[str, Any]:
    """Return that there is no champion, and who took it away if there was one."""
    moves = [change for change in registry.history(name) if change.alias == alias]
    reason = f"first release: no version of '{name}' is named '{alias}', so there is nothing to compare with"
    if not moves:
        return {"status": "first_release", "reason": reason}
    last = moves[-1]
    by = f" by {last.by}" if last.by else ""
    why = f" ({last.reason})" if last.reason else ""
    warning = f"version {last.from_version} was, until the alias was removed {last.at}{by}{why}"
    return {"status": "first_release", "reason": reason, "warning": warning}


def _scored(
    problem: Problem,
    snapshot: Path,
    data: Dataset,
    held: Facts,
    registry: Registry,
    version: ModelVersion,
    folder: Path,
    scratch: Path,
) -> dict[str, Any]:
    import shutil

    import numpy as np

    from cd4ml.domain.treatment import decide
    from cd4ml.models import champion
    from cd4ml.models.runtime import Bundle

    pulled = registry.pull(version.name, version.version, scratch / "bundle")
    bundle, manifest = Bundle.load(pulled), read(snapshot / "manifest.json")
    for file in _COPIED:
        if (pulled / file).is_file():
            shutil.copy(pulled / file, folder / file)
    lacks = champion.lacking(bundle, problem, manifest["tables"])
    why = champion.another_question(bundle.problem, problem) or _lacks(lacks)
    if why:
        told = {"alias": problem.champion.alias, "name": version.name, "version": version.version}
        return _unreadable(told, why) | {"schema": {"lacking": lacks}}
    learnt, lineage = read(pulled / "data.json"), read(pulled / "lineage.json")
    seen = champion.may_have_seen(learnt, lineage, data.meta, manifest["id"])
    found = champion.predict_holdout(bundle, problem, snapshot, held, scratch)
    predicted = found["prediction"]
    np.save(folder / "predictions.npy", predicted)
    if "quantile" in found:
        np.save(folder / "quantile.npy", found["quantile"])
    if problem.task == "classification":
        np.save(folder / "decisions.npy", found["decision"] if "decision" in found else decide(predicted))
    reason = (
        f"held against '{version.name}@{problem.champion.alias}', version {version.version} (bundle"
        f" {version.bundle[:12]}), on the same {len(predicted):,} rows"
    )
    warning = f"the comparison may favour it: {seen}" if seen else ""
    model = read(pulled / "manifest.json")["files"]["model.onnx"]["sha256"]
    return {"status": "scored", "reason": reason, "warning": warning, "rows": len(predicted), "model": model}


def _lacks(found: list[dict[str, Any]]) -> str:
    if not found:
        return ""
    first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
    what = (
        f"column '{first['column']}' of '{first['table']}'"
        if first["column"]
        else f"table '{first['table']}'"
    )
    has = f"has it as {first['found']}" if first["found"] else "has none"
    return f"it needs the {what} as {first['needed']}, the snapshot {has}{more}"


def compare_champion(problem: Path, dataset: Path, evaluation: Path, champion: Path, out: Path) -> Ratchet:
    """Hold the challenger's predictions against the champion's; write ratchet.json to `out`.

    Parameters
    ----------
    problem, dataset, evaluation, champion : Path
        What the steps before wrote: `evaluation` has the challenger's predictions.npy and metrics.json.
    out : Path
        The file to write.

    Returns
    -------
    Ratchet
        For `domain.ratchet_gates.ratchet_gates`; its `limits` are to be registered with the challenger.
    """
    from cd4ml.adapters.storage import atomic
    from cd4ml.domain.ratchet_gates import Ratchet
    from cd4ml.domain.ratchet_limits import first_limit
    from cd4ml.tables.dataset import Dataset

    found, told = problem_of(problem), read(champion / "champion.json")
    named = {key: told[key] for key in ("alias", "name", "version", "bundle")}
    status, reason, warning = told["status"], told["reason"], told["warning"]
    if status == "scored":
        ratchet = _compared(found, Dataset.load(dataset), evaluation, champion, told, named)
    elif status == "first_release":
        metric, margin = found.metrics.primary, found.champion.margin_fraction
        score = float(read(evaluation / "metrics.json")["holdout"][metric]["estimate"])
        limits = {metric: first_limit(metric, score, margin)}
        ratchet = Ratchet(status, named, reason, warning, limits=limits)
    else:
        ratchet = Ratchet("unreadable", named, reason, warning)
    atomic.write_json(out, ratchet.to_dict())
    return ratchet


def _compared(
    problem: Problem,
    data: Dataset,
    evaluation: Path,
    champion: Path,
    told: dict[str, Any],
    named: dict[str, Any],
) -> Ratchet:
    import numpy as np

    from cd4ml.domain.ratchet import Margins, compare
    from cd4ml.domain.ratchet_gates import Ratchet
    from cd4ml.domain.ratchet_limits import Limit, allowance, next_limit
    from cd4ml.features.columns import CategoryArray

    policy, metrics, bias = problem.champion, problem.metrics, problem.bias
    metric, margin, held = metrics.primary, policy.margin_fraction, np.flatnonzero(data.role == 1)
    carried = Limit.from_dict(told["limits"][metric]) if metric in told["limits"] else None
    limits = (margin, policy.slice_margin_fraction, policy.alpha, bias.min_rows, bias.min_clusters)
    comparison = compare(
        metric,
        data.y[held],
        _predictions(evaluation, held.size),
        _predictions(champion, held.size),
        slices={k: CategoryArray(v.codes[held], v.categories) for k, v in sorted(data.slices.items())},
        margins=Margins(*limits),
        allowance=allowance(metric, carried, margin),
        weight=data.weight[held],
        cluster=data.cluster[held],
        quantile=problem.stock.quantile if problem.stock else None,
        resamples=metrics.resamples,
        level=metrics.level,
        seed=problem.search.seed,
    )
    after = next_limit(metric, comparison, carried, margin)
    unmoved = next_limit(metric, replace(comparison, gain=False), carried, margin)
    tightened = after != unmoved
    return Ratchet("scored", named, told["reason"], told["warning"], comparison, {metric: after}, tightened)


def _predictions(folder: Path, rows: int) -> Any:
    import numpy as np

    try:
        found = np.load(folder / "predictions.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(
            f"expected predictions.npy in {folder}; {error}. Run the step before again"
        ) from None
    if found.shape != (rows,):
        raise IntegrityError(
            f"expected {rows} predictions, one a holdout row, in {folder}/predictions.npy; found shape"
            f" {found.shape}. Run the step before again"
        )
    return found
