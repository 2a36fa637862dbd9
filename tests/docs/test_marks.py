"""Each block of commands is run by a test, or says why it cannot be."""

from __future__ import annotations

import pytest

from tests.docs.blocks import ELSEWHERE, MARKS, ROOT, SHELLS, Block, all_blocks, blocks, pages
from tests.docs.commands import commands, complaint

BLOCKS = all_blocks()


def _wrong(block: Block) -> str:
    """Return what is wrong with a block's mark; "" for nothing."""
    if block.language not in SHELLS:
        return f"its fence says '{block.language}'; write ```sh, so that it is run"
    if block.mark and block.mark not in MARKS:
        return f"'{block.mark}' is no mark; expected one of {', '.join(MARKS)}"
    if block.mark == "not run" and len(block.said.split()) < 3:
        return f"'{block.said}' is no reason"
    if block.mark == "run by" and not _runs(block.said, block):
        return f"'{block.said}' is no test that names this page, or runs these lines on another"
    if block.mark == "exit code" and not block.said.isdigit():
        return f"'{block.said}' is no exit code"
    return ""


def _runs(test: str, block: Block) -> bool:
    """Whether a test names the page, or runs all of another page that has the same lines."""
    file = ROOT / test
    if file.is_file() and block.page.rpartition("/")[2] in file.read_text(encoding="utf-8"):
        return True
    texts = [(ROOT / page).read_text(encoding="utf-8") for page, by in ELSEWHERE.items() if by == test]
    return any(all(line in text for line in block.text.splitlines()) for text in texts)


@pytest.mark.parametrize("page", [one for one in pages() if one not in ELSEWHERE])
def test_each_block_is_run_or_says_why_not(page: str) -> None:
    found = [(block.place, _wrong(block)) for block in BLOCKS if block.page == page]
    assert [one for one in found if one[1]] == []


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_that_another_test_runs_is_named_there(page: str) -> None:
    assert (ROOT / page).is_file()
    text = (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")
    assert page.rpartition("/")[2] in text


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}))
def test_each_command_and_option_that_a_page_names_exists(page: str) -> None:
    found = [
        (block.place, complaint(words))
        for block in BLOCKS
        if block.page == page
        for words in commands(block.text)
    ]
    assert [one for one in found if one[1]] == []


def test_a_block_without_a_mark_is_run_and_a_marked_one_is_not() -> None:
    text = "\n".join(
        [
            "```sh",
            "cd4ml problem list",
            "```",
            "<!-- not run: it needs a cluster -->",
            "```sh",
            "kubectl get pods",
            "```",
            "```",
            "cd4ml models list",
            "```",
            "```text",
            "cd4ml models list",
            "```",
        ]
    )
    found = list(blocks("docs/page.md", text))
    assert [(block.line, block.mark, block.runs_here) for block in found] == [
        (1, "", True),
        (5, "not run", False),
        (8, "", True),
    ]
    assert [bool(_wrong(block)) for block in found] == [False, False, True]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cd4ml run bike-demand --data data/bike --out out", ""),
        ("cd4ml serve bike-demand@champion --detach", ""),
        ("CD4ML_STORE=out/store .venv/bin/cd4ml rollout history shop", ""),
        ("cd4ml runs list --branche main", "'cd4ml runs list' has no option --branche"),
        ("cd4ml modles list", "'cd4ml' has no command 'modles'"),
        ("cd4ml models lists | head", "'cd4ml models' has no command 'lists'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, said: str) -> None:
    (words,) = commands(line)
    assert complaint(words) == said
