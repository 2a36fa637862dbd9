"""The images: who they run as, what starts in them, what they say of themselves, what is not there."""

import json
from collections.abc import Callable
from importlib.metadata import version

import pytest

from tests.containers.engine import HARDENED, KINDS, Engine

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

WITHOUT_SHELL = ("predictor", "controller")

LOOK = """
import json, os, shutil
programs = ["sh", "bash", "pip", "pip3", "gcc", "cc", "make", "apt", "apt-get", "dpkg", "curl", "wget"]
rights = [os.path.join(folder, name) for folder, _, names in os.walk("/", followlinks=False)
          if not folder.startswith(("/proc", "/sys")) for name in names
          if os.lstat(os.path.join(folder, name)).st_mode & 0o6000]
print(json.dumps({"user": os.getuid(), "programs": [name for name in programs if shutil.which(name)],
                  "rights": rights}))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_runs_as_a_user_without_rights_and_starts_without_an_entrypoint(
    kind: str, engine: Engine, image: Callable[[str], str]
) -> None:
    config = engine.inspect(image(kind))["Config"]
    assert config["User"] in ("10001", "10001:10001")
    # kfp's command would become arguments of an entrypoint, which would end with 0.
    assert not config.get("Entrypoint")
    assert config["Cmd"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_says_which_version_and_commit_it_is_of(
    kind: str, engine: Engine, image: Callable[[str], str]
) -> None:
    labels = engine.inspect(image(kind))["Config"]["Labels"]
    found = engine.built[kind]
    assert labels["org.opencontainers.image.version"] == version("cd4ml") == found["version"]
    assert labels["org.opencontainers.image.revision"] == found["commit"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["tag"] == version("cd4ml")


@pytest.mark.parametrize("kind", KINDS)
def test_no_compiler_no_package_manager_and_no_file_that_gives_rights_is_left(
    kind: str, engine: Engine, image: Callable[[str], str]
) -> None:
    done = engine.call("run", *HARDENED, "--network=none", image(kind), "python3", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["user"] == 10001 and found["rights"] == []
    shells = {"sh", "bash"}
    assert set(found["programs"]) - shells == set()
    if kind in WITHOUT_SHELL:
        assert not shells & set(found["programs"])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_this_machine_is_in_an_image(
    kind: str, engine: Engine, image: Callable[[str], str]
) -> None:
    found = engine.inspect(image(kind))
    text = "\n".join([*found["Config"]["Env"], engine.call("history", "--no-trunc", image(kind)).stdout])
    for word in ("PIP_", "INDEX_URL", "_CERT", "PROXY", "proxy="):
        assert word not in text.replace("PIP_NO", ""), word
