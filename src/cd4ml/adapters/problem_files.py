"""Read problem files: YAML with lines, from a shipped name, a path, S3 or HTTP(S)."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from cd4ml.adapters.document_lines import MAX_BYTES, Key, decoded, first_error, located, parse
from cd4ml.domain.metric_table import METRICS
from cd4ml.errors import NotFoundError, ProblemError, ServiceError, UsageError, nearest
from cd4ml.features.leakage import check_problem
from cd4ml.problem import Problem

__all__ = ["dumps", "load", "loads", "shipped"]

_TIMEOUT_SECONDS = 20
_WHAT = "problem file"
_KEYS = "`name`, `task`, `tables` ..."


def shipped() -> list[str]:
    """Return the names of the problems that come with cd4ml, sorted."""
    folder = resources.files("cd4ml") / "problems"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load(reference: str) -> Problem:
    """Return the problem of a shipped name, a path or a URL.

    Parameters
    ----------
    reference : str
        E.g. "sales-forecast", "my/problem.yaml", "s3://bucket/problem.yaml", "https://host/problem.yaml".

    Raises
    ------
    NotFoundError
        When nothing has this name.
    ProblemError
        When the file is wrong; names line, key, what was found and the nearest right word.
    ServiceError
        When a URL cannot be reached.
    """
    return loads(_text(reference), origin=reference)


def loads(text: str, origin: str = "problem") -> Problem:
    """Return the problem that `text` (YAML or JSON) describes; `origin` is named in errors."""
    lines, document = parse(text, origin, _KEYS)
    try:
        problem = Problem.model_validate(document)
        _check_metrics(problem)
        check_problem(problem)
        _check_kubernetes(problem)
    except ValidationError as error:
        raise first_error(error, lines, origin, Problem) from None
    except ProblemError as error:
        raise located(str(error), error.path, lines, origin) from None
    return problem


def dumps(problem: Problem, *, kubernetes: bool = False) -> str:
    """Return the normalised JSON form: all defaults written out. `loads` reads it back.

    Keys stand in the order of the format, and those of the user in his: `derived` is evaluated in order.
    What the tasks get on a cluster is left out unless `kubernetes` asks for it: models and caches are told
    apart by this text, and that makes no other model.
    """
    document = problem.model_dump(mode="json")
    if kubernetes and problem.kubernetes.model_fields_set:
        document["kubernetes"] = problem.kubernetes.model_dump(mode="json", exclude_unset=True)
    return json.dumps(document, indent=1, sort_keys=False, ensure_ascii=False) + "\n"


def _check_kubernetes(problem: Problem) -> None:
    if problem.kubernetes.model_fields_set:
        from cd4ml.adapters.kubeflow.task_settings import check_settings

        check_settings(problem.kubernetes)


def _check_metrics(problem: Problem) -> None:
    named: list[tuple[Key, str]] = [(("metrics", "primary"), problem.metrics.primary)]
    named += [(("metrics", "also", index), name) for index, name in enumerate(problem.metrics.also)]
    named += [
        (("gates", "thresholds", i, "metric"), rule.metric) for i, rule in enumerate(problem.gates.thresholds)
    ]
    for path, name in named:
        usable = [key for key, spec in METRICS.items() if spec.task == problem.task and key != "pinball"]
        if name not in usable:
            hint = nearest(name, usable) or f"; expected one of {', '.join(usable)}"
            raise ProblemError(f"'{name}' is no metric of {problem.task}{hint}", path)
    measured = {problem.metrics.primary, *problem.metrics.also}
    seen: set[str] = set()
    for index, rule in enumerate(problem.gates.thresholds):
        path = ("gates", "thresholds", index, "metric")
        if rule.metric in seen:
            raise ProblemError(f"'{rule.metric}' has two limits; keep the stricter", path)
        seen.add(rule.metric)
        if rule.metric not in measured:
            raise ProblemError(
                f"'{rule.metric}' has a limit but is not measured; add it to `metrics.also`", path
            )


def _text(reference: str) -> str:
    if reference.startswith(("http://", "https://")):
        return _download(reference)
    if reference.startswith("s3://"):
        return _object(reference)
    path = Path(reference)
    if reference in shipped():
        return (resources.files("cd4ml") / "problems" / f"{reference}.yaml").read_text(encoding="utf-8")
    try:
        return decoded(path.read_bytes(), reference, _WHAT)
    except IsADirectoryError:
        raise NotFoundError(f"expected a problem file; {reference} is a directory") from None
    except (FileNotFoundError, NotADirectoryError):
        hint = (
            nearest(reference, shipped())
            or f". Shipped are {', '.join(shipped())}; or give the path of a YAML file"
        )
        raise NotFoundError(f"no problem '{reference}'{hint}") from None
    except OSError as error:
        raise NotFoundError(f"the problem file '{reference[:80]}' cannot be read: {error.strerror}") from None


def _object(url: str) -> str:
    from cd4ml.adapters.storage import open_store

    folder, _, name = url.rpartition("/")
    if folder.count("/") < 2 or not name:
        raise UsageError(f"expected s3://bucket/path/problem.yaml; found '{url}'")
    return decoded(open_store(folder).get(name), url, _WHAT)


def _download(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 (scheme is checked)
            data = response.read(MAX_BYTES + 1)
            if response.length and len(data) <= MAX_BYTES:  # the connection ended before the promised length
                raise http.client.IncompleteRead(data, response.length)
            return decoded(data, url, _WHAT)
    except urllib.error.HTTPError as error:
        wrong = ServiceError if error.code >= 500 else NotFoundError
        raise wrong(f"no problem at {url}: the server answered {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"cannot read {url}: {error}. Check the address and the network") from None
