"""What an environment demands of the models that are brought to it: one document in its own store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import decode, encode
from cd4ml.errors import IntegrityError

__all__ = ["ENVIRONMENT", "Environment", "Needs", "read_environment", "write_environment"]

ENVIRONMENT = "environment.json"
"""Its key. Whoever may promote needs no right to write it; see manifests/components/minio/policies."""
Needs = Literal["verdict", "always", "here"]


@dataclass(frozen=True)
class Environment:
    """The demands of a store on promoted bundles.

    Attributes
    ----------
    name : str
        Such as "production"; "" where nobody named it.
    approval : str
        "verdict": a person's approval where the verdict asks for one. "always": for every bundle. Either may
        have been given in the store that the bundle comes from. "here": for every bundle, and in this store.
    signed : bool
        Only bundles that are signed by a key of this environment.
    """

    name: str = ""
    approval: Needs = "verdict"
    signed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def read_environment(storage: Storage) -> Environment:
    """Return what a store demands; a store without the document demands what the verdict does.

    Raises
    ------
    IntegrityError
        If the document is not sound: nothing may be promoted then.
    """
    found = storage.read_versioned(ENVIRONMENT)
    if found is None:
        return Environment()
    where = storage.url(ENVIRONMENT)
    document = decode(found[0], where)
    name, approval, signed = (document.get(key) for key in ("name", "approval", "signed"))
    if not isinstance(name, str) or approval not in get_args(Needs) or not isinstance(signed, bool):
        raise IntegrityError(
            f"'{where}' must have a name, an approval ({', '.join(get_args(Needs))}) and signed (true or"
            " false); write it anew by `cd4ml models environment`"
        )
    return Environment(name, cast(Needs, approval), signed)


def write_environment(storage: Storage, environment: Environment) -> None:
    """Write what a store demands, whatever it demanded before."""
    storage.put(ENVIRONMENT, encode(environment.to_dict()))
