"""The command blocks of the pages, run in their order (`make test-docs`)."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from tests.docs import workspace
from tests.docs.blocks import all_blocks
from tests.docs.page import Page
from tests.docs.prepared import PREPARED

RUN = [block for block in all_blocks() if block.runs_here]
_MISSING = [tool for tool in ("bash", "curl", "jq", "openssl") if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"needs {', '.join(_MISSING)}")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tutorial leaves behind: trained models, a registry, a champion. Made once, by one worker."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "tutorial"
    with (base / "tutorial.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = workspace.bare(base / "tutorial-made")
            _run("docs/tutorial.md", Page(made))
            workspace.add_third(made)
            made.rename(folder)
    return folder


def _run(name: str, page: Page) -> None:
    """Run the blocks of a page in their order, and end what they started."""
    try:
        for prepare in PREPARED.get(name, ()):
            prepare(page)
        for block in RUN:
            if block.page == name:
                page.run(block)
    finally:
        page.close()


@pytest.mark.docs
@pytest.mark.timeout(1200)
def test_the_tutorial_can_be_followed_to_its_end(made: Path) -> None:
    registry = Registry(open_store(str(made / ".cd4ml/store")))
    assert registry.aliases("sales-forecast") == {"champion": 2}


@pytest.mark.docs
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted({block.page for block in RUN} - {"docs/tutorial.md"}))
def test_the_blocks_of_a_page_run_in_their_order(name: str, made: Path, tmp_path: Path) -> None:
    _run(name, Page(workspace.copy(made, tmp_path / "page")))


def test_what_is_prepared_is_for_pages_that_are_run() -> None:
    assert PREPARED.keys() <= {block.page for block in RUN}
