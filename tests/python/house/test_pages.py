"""The pages of the tree: links and anchors hold, and command lines are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from pages import ROOT, blocks, broken, links, pages

from ganglion.cli.commands import COMMANDS
from ganglion.cli.parser import command_line

if TYPE_CHECKING:
    from pathlib import Path

PAGES = pages()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_there_are_links_to_check() -> None:
    assert {"README.md", "docs/DESIGN.md", "cpp/FORMAT.md"} <= {name(page) for page in PAGES}
    assert sum(len(links(page)) for page in PAGES) > 30


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gone](gone.md)", "there.md:3: gone.md is not there"),
        ("[gone](there.md#gone)", "there.md has no such heading"),
        ("[gone](#gone)", "there.md has no such heading"),
        ("![gone](gone.png)", "gone.png is not there"),
        ("[gone]: gone.md", "gone.md is not there"),
        ("[out](../out.md)", "leads out of the tree"),
        ("[out](/out.md)", "leads out of the tree"),
        ("[fine](#a-heading-of-2), [fine](there.md), `[code](gone.md)`", None),
        ("```\n[code](gone.md)\n```", None),
    ],
)
def test_a_broken_link_is_found(text: str, said: str | None, tmp_path: Path) -> None:
    page = tmp_path / "there.md"
    page.write_text(f"# A heading, of `2`\n\n{text}\n", encoding="utf-8")
    found = broken(page, tmp_path)
    assert found == [] if said is None else len(found) == 1 and said in found[0]


def test_every_page_of_docs_can_be_reached_from_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        targets = {(page.parent / target.partition("#")[0]).resolve() for _, target in links(page)}
        left += sorted(path for path in targets - reached if path.suffix == ".md" and path.exists())
    assert [name(page) for page in PAGES if name(page).startswith("docs/") and page not in reached] == []


def test_every_page_of_docs_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    docs = {name(page).removeprefix("docs/") for page in PAGES if name(page).startswith("docs/")}
    assert docs <= set(re.findall(r"[\w/]+\.md", navigation)), "mkdocs.yml, nav"


def commands() -> list[tuple[str, str]]:
    """Every command line of `ganglion` in a block or a table of a page, with the page; text names them in part."""
    found = []
    for page in PAGES:
        lines = [
            line for block in blocks(page) if block.language in ("", "bash", "sh") for line in block.text.split("\n")
        ]
        rows = (row for row in page.read_text(encoding="utf-8").split("\n") if row.startswith("|"))
        lines += [line for row in rows for line in re.findall(r"`(ganglion [a-z]+ [^`]*)`", row)]
        joined = "\n".join(lines).replace("\\\n", "")
        found += [(name(page), line.strip()) for line in joined.split("\n") if re.match(r"\s*ganglion [a-z]", line)]
    return found


def test_every_command_line_is_taken() -> None:
    parser = command_line(COMMANDS)
    assert len(commands()) > 20
    for page, line in commands():
        words = shlex.split(line, comments=True)[1:]
        if "..." in words or any(word.isupper() or word in ("|", ">") for word in words):
            continue  # a form, not a command
        try:
            parser.parse_args(words)
        except SystemExit as status:
            assert status.code == 0, f"{page}: {line}"
