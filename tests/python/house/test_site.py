"""The docs site: it is built without a warning, has every public name, header and code, and its links hold."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from pages import ROOT
from test_public_surface import ROOMS, SURFACE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.deep  # builds the site

HEADERS = ROOT / "cpp" / "include" / "ganglion"
_DETAIL = re.compile(r"^namespace detail \{.*?^\}", re.MULTILINE | re.DOTALL)


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {found[0].lower(): found[1] for found in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}


def test_its_pins_are_those_of_the_others() -> None:
    docs, others = pins("requirements-docs.txt"), {}
    for path in ROOT.glob("requirements-*.txt"):
        others |= pins(path.name) if path.name != "requirements-docs.txt" else {}
    assert {"mkdocs", "mkdocs-material", "mkdocstrings-python"} <= set(docs) - set(others)
    differ = {name: (docs[name], others[name]) for name in set(docs) & set(others) if docs[name] != others[name]}
    assert not differ


def dead(site: Path) -> list[str]:
    """What the pages of a built site refer to and what is not there, or what they fetch from elsewhere."""
    found = []
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.html"))}
    names = {
        page.resolve(): {html.unescape(name) for name in re.findall(r'\bid="?([^\s">]+)', text)}
        for page, text in texts.items()
    }
    for page, text in texts.items():
        for tag, kind, target in re.findall(r'<(a|img|script|link)\b[^>]*?\b(href|src)="?([^\s">]+)', text):
            target = html.unescape(target)
            path, _, anchor = target.partition("#")
            where = f"{page.relative_to(site)}: {target}"
            if re.match(r"[a-z]+:|//", target):
                if tag != "a":
                    found.append(f"{where} is fetched from elsewhere")
                continue
            file = (
                ((site if page.name == "404.html" else page.parent) / unquote(path.lstrip("/"))).resolve()
                if path
                else page.resolve()
            )
            if not file.is_file():
                found.append(f"{where} is not there ({kind})")
            elif anchor and file in names and unquote(anchor) not in names[file] and anchor != "__skip":
                found.append(f"{where} has no such anchor")
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<a href="gone.html">', "is not there"),
        ('<a href="#gone">', "no such anchor"),
        ('<img src="gone.png">', "is not there"),
        ('<script src="https://example.org/x.js">', "fetched from elsewhere"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "fetched from elsewhere"),
        ('<h2 id="here"></h2><a href="index.html#here"></a><a href="https://example.org">', None),
    ],
)
def test_dead_links_are_found(text: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    found = dead(tmp_path)
    assert found == [] if said is None else len(found) == 1 and said in found[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: pip install -r requirements-docs.txt, which make docs does")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "WARNING" not in found.stdout + found.stderr
    return folder


def test_its_links_hold_and_nothing_comes_from_elsewhere(site: Path) -> None:
    assert dead(site) == []
    assert len(list(site.rglob("*.html"))) > 40


def test_every_public_name_is_described(site: Path) -> None:
    for room in sorted(ROOMS - {"cli"}):
        page = (site / "api" / f"{room}.html").read_text(encoding="utf-8")
        for name in getattr(import_module(f"ganglion.{room}"), "__all__", ()):
            assert f"ganglion.{room}.{name}" in page or f">{name}<" in page, f"ganglion.{room}.{name}"
    page = (site / "api" / "ganglion.html").read_text(encoding="utf-8")
    assert all(f"<code>ganglion.{name}</code>" in page for name in SURFACE)


def test_every_header_has_a_page(site: Path) -> None:
    for header in HEADERS.iterdir():
        name = header.name.removesuffix(".in").removesuffix(".hpp")
        page = (site / "cpp_api" / f"{name}.html").read_text(encoding="utf-8")
        shown = html.unescape(re.sub(r"<[^>]+>", "", page))
        public = _DETAIL.sub("", header.read_text(encoding="utf-8")).partition(" private:")[0]
        for line in public.split("\n"):
            words = re.findall(r"\w+", line.partition("//")[0])
            if words and not line.startswith(("#", "namespace", " public:")):
                assert all(word in shown for word in words), f"{header.name}: {line}"


def test_every_code_is_in_one_list(site: Path) -> None:
    page = (site / "codes.html").read_text(encoding="utf-8")
    for code in ("state-forgotten", "gru-linear-before-reset", "non_finite_action", "digest_mismatch", "StepError"):
        assert f"<code>{code}</code>" in page
    section = (ROOT / "docs/DIALECTS.md").read_text(encoding="utf-8").partition("## Codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| (?:refusal|finding)", section, re.MULTILINE)
    assert len(rows) > 30
    for code in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert f'href="DIALECTS.html#{code}"' in page, code
