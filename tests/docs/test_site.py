"""The documentation as a site: every page is in it, every link leads somewhere, nothing is from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.site_hooks import with_formulas, with_outer_links
from scripts.site_math import mathml
from tests.docs.blocks import ROOT
from tests.docs.built import build_site

pytest.importorskip("material", reason="needs mkdocs-material (make install)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; any warning would have been an error."""
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.mark.xdist_group("site")
def test_each_page_is_built_and_can_be_reached(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        assert (site / page).is_file()
        assert f'href="{page.as_posix()}"' in home or page.name == "index.html"


@pytest.mark.xdist_group("site")
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    found = {
        (page.name, address)
        for page in site.rglob("*.html")
        for address in loaded.findall(page.read_text(encoding="utf-8"))
    }
    assert found == set()
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert not re.search(r"url\((['\"]?)(https?:)?//", styles)


@pytest.mark.xdist_group("site")
def test_no_formula_is_left_as_it_was_typed_and_no_mark_is_shown(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = re.sub(
            r"<(code|pre|script)\b.*?</\1>|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S
        )
        assert not re.search(r"\$[^$\n<]+\$", text), page.name
        assert "&lt;!-- " not in text, page.name


def test_formulas_become_elements_and_code_stays() -> None:
    assert with_formulas("of $b = 6$ bits") == f"of {mathml('b = 6')} bits"
    for code in ("`$HOME and $PATH`", "```sh\necho $A $B\n```", "it costs $5 or $6"):
        assert with_formulas(code) == code


def test_an_unknown_command_of_tex_is_refused() -> None:
    assert mathml(r"\sqrt{k/n}").count("msqrt") == 2
    assert "<msub><mi>q</mi><mi>f</mi></msub>" in mathml("q_f")
    with pytest.raises(ValueError, match=r"\\oint"):
        mathml(r"\oint x")
    with pytest.raises(ValueError, match="lacks"):
        mathml("{x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](data.md)", "[a](data.md)"),
        ("[a](../components/data/snapshot)", "[a](https://x.example/components/data/snapshot)"),
        ("[a](https://y.example/b)", "[a](https://y.example/b)"),
        ("[a](#here)", "[a](#here)"),
    ],
)
def test_a_link_that_leaves_the_pages_leads_to_the_repository(text: str, expected: str) -> None:
    assert with_outer_links(text, "", "https://x.example") == expected
