"""What an image of an embedded model is built of."""

import re
from pathlib import Path

import pytest

from cd4ml.errors import DataError, ServiceError, UsageError
from cd4ml.models.embed.image import build_command, build_image, image_tag, locked_lines, write_context

LOCK = Path(__file__).parents[3] / "requirements" / "dev.txt"


def test_the_context_has_what_the_dockerfile_copies_and_nothing_else(wheels, tmp_path):
    wheel = wheels["shop"]
    context = write_context(wheel, tmp_path / "image", LOCK, "registry.local:5000/python:3.12")
    assert sorted(path.name for path in context.iterdir()) == [
        "Dockerfile",
        wheel.path.name,
        "requirements.txt",
    ]
    assert (context / wheel.path.name).read_bytes() == wheel.path.read_bytes()
    dockerfile = (context / "Dockerfile").read_text()
    lines = dockerfile.splitlines()
    assert "ARG BASE_IMAGE=registry.local:5000/python:3.12" in lines
    assert lines.index("ARG BASE_IMAGE=registry.local:5000/python:3.12") < lines.index("FROM ${BASE_IMAGE}")
    assert "--require-hashes" in dockerfile
    assert lines.index("USER 65532:65532") > lines.index("FROM ${BASE_IMAGE}")
    assert lines[-1] == 'ENTRYPOINT ["python", "-m", "corner_shop"]'
    assert wheel.naming.bundle_id in dockerfile
    locked = (context / "requirements.txt").read_text()
    for name, version in wheel.requirements.items():
        assert f"\n{name}=={version} " in "\n" + locked
    blocks = re.split(r"\n(?=\S)", locked.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert {"protobuf", "pydantic-core"} <= {block.partition("==")[0] for block in blocks}
    assert not {"scikit-learn", "kserve", "minio"} & {block.partition("==")[0] for block in blocks}


def test_a_lock_that_does_not_fit_is_refused(wheels, tmp_path):
    lock = tmp_path / "lock.txt"
    with pytest.raises(UsageError, match=r"found no '.*lock\.txt'\. Give the file with --lock"):
        write_context(wheels["shop"], tmp_path / "image", lock)
    lock.write_text("numpy==1.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(DataError, match=r"expected 'onnxruntime' with its hashes in 'lock\.txt'"):
        write_context(wheels["shop"], tmp_path / "image", lock)
    assert locked_lines(lock, ["numpy"]) == "numpy==1.0 \\\n    --hash=sha256:00\n"
    lock.write_text(LOCK.read_text().replace("pydantic==", "pydantic==9"))
    with pytest.raises(DataError, match=r"was tested with pydantic .*; 'lock.txt' has another one"):
        write_context(wheels["shop"], tmp_path / "image", lock)
    with pytest.raises(UsageError, match="expected the name of an image"):
        write_context(wheels["shop"], tmp_path / "image", LOCK, "a\nRUN x")
    assert not (tmp_path / "image").exists()


def test_without_a_builder_the_command_is_told(wheels, tmp_path):
    with pytest.raises(
        ServiceError, match=r"no docker, podman or buildah .* build it with: docker build --tag"
    ):
        build_image(wheels["shop"], tmp_path, ("no-such-builder",))


def test_a_builder_that_fails_is_quoted_and_one_that_works_gives_the_tag(wheels, tmp_path):
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_text("#!/bin/sh\necho 'cannot connect.' >&2\nexit 1\n")
    good.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    for path in (bad, good):
        path.chmod(0o755)
    with pytest.raises(ServiceError, match=r"could not build the image: cannot connect\. The context is in"):
        build_image(wheels["shop"], tmp_path, (str(bad),))
    tag = build_image(wheels["shop"], tmp_path, ("no-such-builder", str(good)))
    assert tag == image_tag(wheels["shop"]) == f"corner-shop:0-{wheels['shop'].naming.bundle_id[:12]}"
    assert (tmp_path / "told").read_text() == f"build --tag {tag} {tmp_path}\n"
    assert build_command(wheels["shop"], tmp_path, "buildah")[:2] == ["buildah", "bud"]
