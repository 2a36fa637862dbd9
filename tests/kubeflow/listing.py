"""Filter, sort and page as the API server of Kubeflow Pipelines does."""

import base64
import json

DEFAULT_PAGE, LONGEST_PAGE = 20, 200
FIELDS = {
    "pipelines": {"pipeline_id", "id", "display_name", "name", "created_at", "description", "namespace"},
    "pipeline_versions": {"pipeline_version_id", "id", "display_name", "name", "created_at", "description"},
    "experiments": {"experiment_id", "id", "display_name", "name", "created_at", "namespace"},
    "runs": {
        "run_id", "id", "display_name", "name", "created_at", "finished_at", "description", "scheduled_at",
        "storage_state", "namespace", "experiment_id", "state", "recurring_run_id", "pipeline_id",
    },
    "recurring_runs": {"recurring_run_id", "id", "display_name", "name", "created_at", "status", "namespace"},
}  # fmt: skip
KEYS = {"recurring_runs": "recurringRuns"}
"""Where the list is not named as everything else is."""


class ApiError(Exception):
    """A refusal: a code of gRPC, and the message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


INVALID, NOT_FOUND, EXISTS, DENIED, INTERNAL, UNAVAILABLE, UNKNOWN_CALLER = 3, 5, 6, 7, 13, 14, 16
HTTP = {INVALID: 400, NOT_FOUND: 404, EXISTS: 409, DENIED: 403, INTERNAL: 500, UNAVAILABLE: 503, 12: 501}
HTTP[UNKNOWN_CALLER] = 401


def page_of(kind, items, query):
    """Return the answer of a list call: a page of the items that the query asks for."""
    size = min(int(query.get("page_size") or 0) or DEFAULT_PAGE, LONGEST_PAGE)
    sort_by, predicates = query.get("sort_by", ""), query.get("filter", "")
    start = 0
    if query.get("page_token"):
        start = _start(query["page_token"], sort_by, predicates)
    found = [one for one in items if _kept(kind, one, predicates)]
    field, _, direction = (sort_by or "created_at").partition(" ")
    if field not in FIELDS[kind] or direction.lower() not in ("", "asc", "desc"):
        raise ApiError(INVALID, f"Invalid input error: Invalid sorting field: {field!r}")
    found.sort(key=lambda one: str(one.get(field, "")), reverse=direction.lower() == "desc")
    answer = {KEYS.get(kind, kind): found[start : start + size], "total_size": len(found)}
    if start + size < len(found):
        token = {"start": start + size, "sort_by": sort_by, "filter": predicates}
        answer["next_page_token"] = base64.b64encode(json.dumps(token).encode()).decode()
    return answer


def _start(token, sort_by, predicates):
    try:
        said = json.loads(base64.b64decode(token))
    except ValueError:
        raise ApiError(INVALID, "Invalid input error: Invalid package token.") from None
    if (sort_by and sort_by != said["sort_by"]) or (predicates and predicates != said["filter"]):
        raise ApiError(
            INVALID,
            "Invalid input error: page token does not match the supplied sort by and/or filtering criteria.",
        )
    return said["start"]


def _kept(kind, item, text):
    """Return whether an item passes the filter; the server compares text without regard to case."""
    for one in json.loads(text)["predicates"] if text else []:
        if one["key"] not in FIELDS[kind]:
            raise ApiError(INVALID, f'no support for filtering on unrecognized field "{one["key"]}"')
        has = str(item.get("display_name" if one["key"] == "name" else one["key"], "")).lower()
        wanted = str(one.get("stringValue", one.get("string_value"))).lower()
        operation = {1: "EQUALS", 9: "IS_SUBSTRING"}.get(one["operation"], one["operation"])
        if operation == "EQUALS" and has != wanted:
            return False
        if operation == "IS_SUBSTRING" and wanted not in has:
            return False
        if operation not in ("EQUALS", "IS_SUBSTRING"):
            raise ApiError(INVALID, f"invalid predicate operation: {operation}")
    return True
