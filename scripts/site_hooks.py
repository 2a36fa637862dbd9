"""What `mkdocs` asks while it builds the site: links that leave docs/, and formulas."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from scripts.site_math import mathml

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_page_markdown", "with_formulas", "with_outer_links"]

_CODE = re.compile(r"(^[ ]*(?P<fence>```+).*?^[ ]*(?P=fence)[ ]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$\w])\$([^$\n]+)\$(?!\d)")
_LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's Markdown as the site needs it."""
    folder = posixpath.dirname(page.file.src_uri)
    return with_outer_links(with_formulas(markdown), folder, f"{config.extra['repository']}/tree/main")


def with_formulas(markdown: str) -> str:
    """Return the text with `$...$` and `$$...$$` outside of code as MathML."""
    parts = _CODE.split(markdown)
    # split() gives text, code, fence, text, code, fence, ...; the fences are in the code already.
    plain, code = parts[0::3], [*parts[1::3], ""]
    drawn = [
        _INLINE.sub(
            lambda m: mathml(m[1]),
            _DISPLAY.sub(lambda m: f'<span class="formula">{mathml(m[1], display=True)}</span>', text),
        )
        for text in plain
    ]
    return "".join(text + block for text, block in zip(drawn, code, strict=True))


def with_outer_links(markdown: str, folder: str, repository: str) -> str:
    """Return the text with links to files outside of docs/ leading to the repository.

    Parameters
    ----------
    folder : str
        Of the page, beneath docs/.
    repository : str
        Address of the repository's root.
    """

    def outer(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, match[1]))
        if target.startswith("docs/"):
            return match[0]
        return f"]({repository}/{target}{match[2] or ''})"

    return _LINK.sub(outer, markdown)
