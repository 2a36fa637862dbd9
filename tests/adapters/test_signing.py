"""Signatures: whose they are, what breaks them, and that no secret is shown."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cd4ml.adapters.manifest import MANIFEST, SIGNATURE, verify_manifest, write_manifest
from cd4ml.adapters.signing import (
    SIGNING_KEY,
    VERIFY_KEY,
    generate_keypair,
    require_signature,
    sign,
    verify_signature,
)
from cd4ml.errors import IntegrityError, UsageError
from tests.adapters.s3_server import environment

PRIVATE, PUBLIC = generate_keypair()
OTHER_PRIVATE, OTHER_PUBLIC = generate_keypair()


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


def unsigned(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    write_manifest(folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = unsigned(tmp_path / "bundle")
    with environment(**{SIGNING_KEY: PRIVATE}):
        assert sign(folder).state == "valid"
    return folder


def test_a_signature_of_our_key_is_valid_and_says_nothing(bundle: Path) -> None:
    found = require_signature(bundle, [PUBLIC])
    assert (found.state, found.warning, len(found.key_id)) == ("valid", "", 16)
    verify_manifest(bundle)


def test_signing_again_gives_the_same_bytes(bundle: Path) -> None:
    first = (bundle / SIGNATURE).read_bytes()
    with environment(**{SIGNING_KEY: PRIVATE}):
        sign(bundle)
    assert (bundle / SIGNATURE).read_bytes() == first


def test_an_unsigned_bundle_is_said_loudly_and_refused_where_keys_are_configured(tmp_path: Path) -> None:
    folder = unsigned(tmp_path / "bundle")
    assert require_signature(folder).warning.startswith("UNSIGNED: nobody vouches")
    with pytest.raises(IntegrityError, match="UNSIGNED"):
        require_signature(folder, [PUBLIC])
    with environment(**{VERIFY_KEY: PUBLIC}), pytest.raises(IntegrityError, match="was refused"):
        require_signature(folder)


def test_a_signature_by_a_strange_key_is_said_loudly_and_refused_where_keys_are_configured(
    bundle: Path,
) -> None:
    assert verify_signature(bundle).warning.startswith("UNVERIFIED: signed by the key")
    assert require_signature(bundle).state == "unknown_key"
    with pytest.raises(IntegrityError, match="UNVERIFIED"):
        require_signature(bundle, [OTHER_PUBLIC])


def test_a_taken_away_signature_is_noticed_by_whoever_has_a_key(bundle: Path) -> None:
    (bundle / SIGNATURE).unlink()
    with pytest.raises(IntegrityError, match="UNSIGNED"):
        require_signature(bundle, [PUBLIC])


def test_every_byte_of_the_signature_file_counts_with_and_without_a_key(bundle: Path) -> None:
    right = (bundle / SIGNATURE).read_bytes()
    for place in range(len(right)):
        (bundle / SIGNATURE).write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        for keys in ([], [PUBLIC]):
            with pytest.raises(IntegrityError, match=r"INVALID SIGNATURE: 'manifest\.json\.sig'"):
                require_signature(bundle, keys)


def test_another_manifest_under_the_same_signature_is_invalid(bundle: Path) -> None:
    signature = (bundle / SIGNATURE).read_bytes()
    (bundle / "model.onnx").write_bytes(b"another model")
    write_manifest(bundle)
    (bundle / SIGNATURE).write_bytes(signature)
    verify_manifest(bundle)
    with pytest.raises(IntegrityError, match="INVALID SIGNATURE"):
        require_signature(bundle)


def test_the_key_within_the_file_is_not_trusted_for_being_there(bundle: Path) -> None:
    """Whoever alters a bundle can sign it anew with a key of his own."""
    (bundle / "model.onnx").write_bytes(b"another model")
    write_manifest(bundle)
    with environment(**{SIGNING_KEY: OTHER_PRIVATE}):
        sign(bundle)
    assert verify_signature(bundle, [PUBLIC]).state == "unknown_key"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_of_a_wrong_length_is_invalid(bundle: Path, size: int) -> None:
    document = json.loads((bundle / SIGNATURE).read_text())
    document["public_key"] = base64.b64encode(b"x" * size).decode()
    (bundle / SIGNATURE).write_text(json.dumps(document))
    assert verify_signature(bundle).state == "invalid"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"public_key": 1, "signature": 2}', "[" * 100_000])
def test_what_is_no_signature_is_invalid(bundle: Path, text: str) -> None:
    (bundle / SIGNATURE).write_text(text)
    assert verify_signature(bundle).state == "invalid"


def test_keys_come_as_text_or_as_files_one_or_several(bundle: Path, tmp_path: Path) -> None:
    files = []
    for name, key in (("old", OTHER_PUBLIC), ("new", PUBLIC), ("secret", PRIVATE)):
        files.append(tmp_path / f"{name}.pem")
        files[-1].write_text(key)
    for value in (PUBLIC, OTHER_PUBLIC + PUBLIC, str(files[1]), f"{files[0]}:{files[1]}"):
        with environment(**{VERIFY_KEY: value}):
            assert require_signature(bundle).state == "valid"
    with environment(**{SIGNING_KEY: str(files[2]), VERIFY_KEY: PUBLIC}):
        sign(bundle)
        assert require_signature(bundle).state == "valid"


def wrong_keys() -> dict[str, str]:
    curve = generate_private_key(SECP256R1())
    private = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    body = PRIVATE.splitlines()[1]
    return {"private": private, "public": public, "pasted": body, "damaged": PRIVATE.replace(body, body[:-9])}


@pytest.mark.parametrize("kind", ["private", "pasted", "damaged"])
def test_a_wrong_signing_key_is_refused_and_never_shown(tmp_path: Path, kind: str) -> None:
    folder, value = unsigned(tmp_path / "bundle"), wrong_keys()[kind]
    with environment(**{SIGNING_KEY: value}), pytest.raises(UsageError, match=SIGNING_KEY) as caught:
        sign(folder)
    for line in value.splitlines():
        assert line.startswith("-----") or line not in str(caught.value)
    assert not (folder / SIGNATURE).exists()


def test_signing_without_a_key_says_which_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{SIGNING_KEY} is not set"):
        sign(unsigned(tmp_path / "bundle"))


@pytest.mark.parametrize("value", ["public", "damaged"])
def test_a_wrong_verify_key_is_refused(bundle: Path, value: str) -> None:
    with environment(**{VERIFY_KEY: wrong_keys()[value]}), pytest.raises(UsageError, match="Ed25519 public"):
        require_signature(bundle)


def test_a_verify_key_file_that_is_not_there_is_refused(bundle: Path, tmp_path: Path) -> None:
    with environment(**{VERIFY_KEY: str(tmp_path / "none.pem")}), pytest.raises(UsageError, match=VERIFY_KEY):
        require_signature(bundle)


def test_a_folder_without_a_manifest_has_nothing_to_sign(tmp_path: Path) -> None:
    with environment(**{SIGNING_KEY: PRIVATE}), pytest.raises(IntegrityError, match="no whole bundle"):
        sign(tmp_path)


def test_the_signature_can_be_verified_with_cryptography_alone(bundle: Path) -> None:
    document = json.loads((bundle / SIGNATURE).read_text())
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(document["public_key"]))
    key.verify(base64.b64decode(document["signature"]), (bundle / MANIFEST).read_bytes())
