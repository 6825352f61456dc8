"""The pages of the tree (`*.md`) as data: blocks of code, links, anchors; and a page run as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
_NOT_OURS = {".venv", "build", "out", "dist", "node_modules"}


class Block(NamedTuple):
    """A fenced block: its language, the file that it is (`title="..."`, or none), its text and its line."""

    language: str
    title: str
    text: str
    line: int


def pages(root: Path = ROOT) -> list[Path]:
    """Every page of the tree."""
    found = (path for path in root.rglob("*.md") if not _NOT_OURS & set(path.relative_to(root).parts))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(each[1], each[2] or "", each[3], text[: each.start()].count("\n") + 1) for each in found]


def prose(page: Path) -> str:
    """A page without its code, line by line where it was."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", lambda code: "`" + "x" * (len(code[0]) - 2) + "`", text)


def links(page: Path) -> list[tuple[int, str]]:
    """The line and the target of every link and picture of a page."""
    text = prose(page)
    found = re.finditer(r"\]\(\s*<?([^)>\s]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    return [(text[: each.start()].count("\n") + 1, each[1] or each[2]) for each in found]


def anchors(page: Path) -> set[str]:
    """What may stand behind `#`: names of headings that a repository's viewer and the built site agree on."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    in_viewer, in_site = set(), set()
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        kept = re.sub(r"[^\w\s-]", "", unicodedata.normalize("NFKD", plain)).strip().lower()
        in_viewer.add(re.sub(r"\s", "-", kept))
        in_site.add(re.sub(r"[-\s]+", "-", kept))
    return in_viewer & in_site | set(re.findall(r'<a id="([^"]+)"', text))


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """A sentence for every relative link of a page that leads nowhere."""
    found = []
    for line, target in links(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        where = f"{page.relative_to(root)}:{line}: {target}"
        if path.startswith("/") or root.resolve() not in (file, *file.parents):
            found.append(f"{where} leads out of the tree")
        elif not file.exists():
            found.append(f"{where} is not there")
        elif anchor and anchor not in anchors(file):
            found.append(f"{where}: {file.name} has no such heading")
    return found


def run(page: Path, folder: Path, *, replaced: dict[str, str] | None = None) -> str:
    """Does in an empty folder what a page says, from top to bottom; returns what its commands printed.

    A block with a title is a file. A block in `bash` is run; `text` is what one sees. `$GANGLION` is the folder of this
    tree, as on the pages.

    Args:
        page: the page.
        folder: where.
        replaced: texts of blocks that are too long for a test, and what stands in their place; each must be there.
    """
    said, unused = [], dict(replaced or {})
    for block in blocks(page):
        text = block.text
        for old, new in (replaced or {}).items():
            if old in text:
                text = text.replace(old, new)
                unused.pop(old, None)
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif block.language == "bash":
            said.append(_shell(text, folder, f"{page.name}:{block.line}"))
        else:
            assert block.language == "text", (
                f"{page.name}:{block.line}: a block in '{block.language}' without a title is neither run nor written"
            )
    assert not unused, f"{page.name} no longer has {sorted(unused)}"
    return "".join(said)


def _shell(text: str, folder: Path, where: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GANGLION": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = ["bash", "-euo", "pipefail", "-c", text]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert found.returncode == 0, f"{where}\n{text}\n{found.stdout}\n{found.stderr}"
    return found.stdout
