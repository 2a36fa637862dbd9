"""Hold a bundle against all who call it: the consumers' contracts, and the champion's serving contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import Cd4mlError, IntegrityError, ServiceError
from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.adapters.storage import Storage
    from cd4ml.domain.consumer_contract import ConsumerContract
    from cd4ml.models.runtime import Bundle

__all__ = ["Champion", "check_consumers", "hold_against"]

CONSUMERS = "consumers.json"


@dataclass(frozen=True)
class Champion:
    """The serving contract of the model that is in use.

    Attributes
    ----------
    status : str
        "compared", "first_release", "not_compared" (nobody asked) or "unreadable".
    bundle : str
        Id of its bundle; "" where there is none.
    contract : mapping or None
        Its contract.json.
    reason : str
        Why there is no contract.
    """

    status: str
    bundle: str = ""
    contract: Mapping[str, Any] | None = None
    reason: str = ""


def check_consumers(problem: Path, bundle: Path, store: str, champion: Path, out: Path) -> dict[str, float]:
    """Check a bundle against every consumer's contract and the champion's; write `out`/consumers.json.

    The file has `checks` (one a consumer), `schema` (what changed since the champion) and the `gates` for the
    judge.

    Parameters
    ----------
    store : str
        Where consumers' contracts and the champion's bundle are; "" for the default.
    champion : Path
        Folder with champion.json: its `status` and the id of its `bundle`.

    Returns
    -------
    dict of str to float
        How many consumers there are, how many of them break, and how many changes break callers of the
        champion.
    """
    from cd4ml.adapters.consumer_files import ConsumerStore
    from cd4ml.adapters.storage import atomic, open_store
    from cd4ml.models.runtime import Bundle

    storage = open_store(store or None)
    name = problem_of(problem).name
    contracts = ConsumerStore(storage).contracts(name)
    found = hold_against(Bundle.load(bundle, own=True), contracts, _champion(champion, storage))
    with atomic.directory(out) as folder:
        atomic.write_json(folder / CONSUMERS, found)
    broken = [check for check in found["checks"] if check["status"] == "fail"]
    breaking = [change for change in found["schema"]["changes"] if not change["backward"]]
    return {
        "consumers": float(len(found["checks"])),
        "consumers_broken": float(len(broken)),
        "schema_breaking_changes": float(len(breaking)),
    }


def hold_against(
    bundle: Bundle, contracts: Iterable[tuple[str, ConsumerContract | IntegrityError]], champion: Champion
) -> dict[str, Any]:
    """Return the content of consumers.json for a bundle.

    Parameters
    ----------
    contracts : iterable of (consumer, contract)
        As `ConsumerStore.contracts` yields them; one that cannot be read fails with the consumer's name.
    """
    from cd4ml.domain.consumer_contract import consumer_gates, unreadable
    from cd4ml.domain.schema_compatibility import schema_changes, schema_gates, unanswered_schema_gates
    from cd4ml.models.consumers import check_consumer
    from cd4ml.models.contract import declared_values

    checks = [
        unreadable(name, str(found)) if isinstance(found, IntegrityError) else check_consumer(bundle, found)
        for name, found in contracts
    ]
    changes = (
        schema_changes(champion.contract, bundle.contract, declared_values(bundle.problem))
        if champion.contract is not None
        else ()
    )
    gates = consumer_gates(bundle.problem.name, checks)
    if champion.contract is None:
        gates += unanswered_schema_gates(champion.reason, unreadable=champion.status == "unreadable")
    else:
        gates += schema_gates(changes, checks)
    return {
        "bundle": bundle.id,
        "checks": [check.to_dict() for check in checks],
        "schema": {
            "status": champion.status,
            "champion": champion.bundle,
            "reason": champion.reason,
            "changes": [change.to_dict() for change in changes],
        },
        "gates": [gate.to_dict() for gate in gates],
    }


def _champion(folder: Path, storage: Storage) -> Champion:
    """Return the champion's contract out of the store; what cannot be read is told, and fails its gates."""
    from cd4ml.adapters.stored_bundle import stored_document

    about = read(folder / "champion.json")
    if about["status"] == "first_release":
        reason = (
            about.get("reason") or "this is the first release: there is no champion to be compatible with"
        )
        return Champion("first_release", reason=reason)
    bundle = str(about.get("bundle") or "")
    if not bundle:
        return Champion("unreadable", reason=about.get("reason") or "champion.json names no bundle")
    try:
        return Champion("compared", bundle, stored_document(storage, bundle, "contract.json"))
    except ServiceError:
        raise
    except Cd4mlError as error:
        return Champion("unreadable", bundle, reason=str(error))
