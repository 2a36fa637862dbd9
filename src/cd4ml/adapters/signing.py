"""Ed25519 signatures: who made a bundle's manifest, or wrote a record.

manifest.json.sig holds the signature over the bytes of manifest.json, and the public key that it fits. The
key in the file shows damage; whether it is to be trusted is decided by CD4ML_VERIFY_KEY alone.

References
----------
.. [1] Josefsson, Liusvaara, 2017, RFC 8032, Edwards-Curve Digital Signature Algorithm (EdDSA).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cd4ml.adapters.manifest import MANIFEST, SIGNATURE, bundle_id
from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "SIGNING_KEY",
    "VERIFY_KEY",
    "Signature",
    "configured_keys",
    "generate_keypair",
    "require_signature",
    "sign",
    "sign_message",
    "signature_of",
    "verify_key_ids",
    "verify_signature",
]

SIGNING_KEY = "CD4ML_SIGNING_KEY"
VERIFY_KEY = "CD4ML_VERIFY_KEY"
_END = "-----END PUBLIC KEY-----"


@dataclass(frozen=True)
class Signature:
    """What is known about who made a bundle.

    Attributes
    ----------
    state : str
        "valid": by one of our keys. "unsigned": by nobody. "unknown_key": by a key that is not among ours, or
        none is configured. "invalid": the manifest or the signature was changed.
    key_id : str
        The first 16 hexadecimal digits of the public key's SHA-256; "" when unsigned.
    """

    state: Literal["valid", "unsigned", "unknown_key", "invalid"]
    key_id: str = ""

    @property
    def warning(self) -> str:
        """What to tell the user loudly; "" when the signature is valid."""
        return {
            "valid": "",
            "unsigned": f"UNSIGNED: nobody vouches for this bundle; set {SIGNING_KEY} where it is made and"
            f" {VERIFY_KEY} where it is used",
            "unknown_key": f"UNVERIFIED: signed by the key {self.key_id}, which {VERIFY_KEY} does not hold",
            "invalid": f"INVALID SIGNATURE: '{SIGNATURE}' does not fit '{MANIFEST}'; one of them was changed",
        }[self.state]


def generate_keypair() -> tuple[str, str]:
    """Return a new (private, public) key pair as PEM text; the private one is for CD4ML_SIGNING_KEY alone."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def sign(bundle: Path) -> Signature:
    """Sign the bundle's manifest with the key of CD4ML_SIGNING_KEY, and write manifest.json.sig.

    Raises
    ------
    UsageError
        If the variable is not set, or holds neither an Ed25519 private key in PEM nor the path of one. The
        message never shows what it holds.
    """
    bundle_id(bundle)
    document = _signed((bundle / MANIFEST).read_bytes())
    atomic.write_json(bundle / SIGNATURE, document)
    return Signature("valid", document["key_id"])


def sign_message(message: bytes) -> dict[str, str] | None:
    """Return the signature of `message` with the key of CD4ML_SIGNING_KEY; None when that is not set."""
    return _signed(message) if os.environ.get(SIGNING_KEY) else None


def verify_signature(bundle: Path, public_keys: Sequence[str] | None = None) -> Signature:
    """Return what the bundle's signature is worth; only the manifest is looked at, so verify that as well.

    Parameters
    ----------
    bundle : Path
        A folder with manifest.json.
    public_keys : sequence of str, optional
        PEM texts; by default those of CD4ML_VERIFY_KEY (PEM text of one or several keys, or paths of PEM
        files separated by ":").
    """
    bundle_id(bundle)
    path = bundle / SIGNATURE
    if not path.is_file():
        return Signature("unsigned")
    text = path.read_bytes()
    try:
        document = json.loads(text)
        written = isinstance(document, dict) and atomic.dumps(document).encode() == text
    except (ValueError, RecursionError):
        written = False
    if not written:
        return Signature("invalid")
    return signature_of((bundle / MANIFEST).read_bytes(), document, public_keys)


def signature_of(
    message: bytes, document: Mapping[str, Any] | None, public_keys: Sequence[str] | None = None
) -> Signature:
    """Return what a document of `sign_message` is worth as the signature of `message`; None is unsigned.

    `public_keys` as in `verify_signature`.
    """
    if document is None:
        return Signature("unsigned")
    found = _parse(document)
    if found is None:
        return Signature("invalid")
    public, signature = found
    key_id = _key_id(public)
    if not _fits(public, signature, message):
        return Signature("invalid", key_id)
    trusted = {key.public_bytes_raw() for key in _public_keys(public_keys)}
    return Signature("valid" if public in trusted else "unknown_key", key_id)


def require_signature(
    bundle: Path, public_keys: Sequence[str] | None = None, what: str = "bundle"
) -> Signature:
    """Return what the bundle's signature is worth, and refuse anything but "valid" when keys are configured.

    Without a key nothing can be verified: the caller shows `Signature.warning`. `what` is what messages call
    the folder.

    Raises
    ------
    IntegrityError
        If verify keys are given (or CD4ML_VERIFY_KEY is set) and none of them signed this manifest.
    """
    found = verify_signature(bundle, public_keys)
    configured = os.environ.get(VERIFY_KEY) if public_keys is None else public_keys
    if found.state == "invalid" or (configured and found.state != "valid"):
        raise IntegrityError(f"{what} '{bundle}' was refused. {found.warning}; do not use it")
    return found


def _key_id(public: bytes) -> str:
    return sha256_bytes(public)[:16]


def _document(public: bytes, signature: bytes) -> dict[str, str]:
    return {
        "algorithm": "ed25519",
        "key_id": _key_id(public),
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(signature).decode(),
    }


def _signed(message: bytes) -> dict[str, str]:
    key = _private_key()
    return _document(key.public_key().public_bytes_raw(), key.sign(message))


def _parse(document: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    """Return public key and signature; None when the document is not to the byte what `sign` makes."""
    try:
        public, signature = (base64.b64decode(document[name]) for name in ("public_key", "signature"))
    except (ValueError, TypeError, KeyError):
        return None
    return (public, signature) if _document(public, signature) == document else None


def _fits(public: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _pem(value: str, variable: str) -> str:
    """Return PEM text from the text itself or from the file that it names."""
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).expanduser().read_text(encoding="ascii")
    except (OSError, ValueError):
        # The value may be a key that was pasted without its first line: it must not be shown.
        raise UsageError(
            f"{variable} must be PEM text that starts with -----BEGIN, or the path of a readable PEM file;"
            " it is neither (its value is not shown)"
        ) from None


def _private_key() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    value = os.environ.get(SIGNING_KEY)
    if not value:
        raise UsageError(
            f"{SIGNING_KEY} is not set; set it to an Ed25519 private key in PEM or the path of one"
        )
    try:
        key = load_pem_private_key(_pem(value, SIGNING_KEY).encode(), password=None)
    except UsageError:
        raise
    except Exception:
        raise _no_key(SIGNING_KEY, "private") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(SIGNING_KEY, "private")
    return key


def _public_keys(given: Sequence[str] | None) -> list[Ed25519PublicKey]:
    if given is None:
        given = configured_keys()
    return [_public_key(pem) for text in given for pem in _split(text)]


def configured_keys(variable: str = VERIFY_KEY) -> list[str]:
    """Return the PEM texts that a variable like CD4ML_VERIFY_KEY holds or names; [] when it is not set.

    Raises
    ------
    UsageError
        If it names a file that cannot be read.
    """
    value = os.environ.get(variable, "")
    if "-----BEGIN" in value:
        return [value]
    return [_pem(path, variable) for path in value.split(os.pathsep) if path]


def verify_key_ids() -> list[str]:
    """Return the ids of the keys of CD4ML_VERIFY_KEY; raises UsageError if one is no such key."""
    return [_key_id(key.public_bytes_raw()) for key in _public_keys(None)]


def _split(text: str) -> list[str]:
    """Return the single keys of a text that may hold several."""
    parts = [part for part in text.split(_END) if part.strip()]
    return [f"{part.strip()}\n{_END}\n" for part in parts]


def _public_key(pem: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except Exception:
        raise _no_key(VERIFY_KEY, "public") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(VERIFY_KEY, "public")
    return key


def _no_key(variable: str, kind: str) -> UsageError:
    return UsageError(
        f"{variable} must hold an Ed25519 {kind} key in PEM without a password, and does not (its value is"
        " not shown); make a pair with 'cd4ml models keys'"
    )
