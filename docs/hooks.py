"""What `mkdocs` cannot find in docs/: pages elsewhere in the tree, the Python API, the C++ headers, the list of codes.

Nothing is written twice: pages are taken where they lie and their links led to where things are on the site; the API is
what `__all__` of each public room says, and a header is shown as it is, cut into its declarations.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "ganglion"
HEADERS = ROOT / "cpp" / "include" / "ganglion"
ELSEWHERE = {
    "README.md": "index.md",
    **{
        path: path
        for path in (
            "SECURITY.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "cpp/FORMAT.md",
            "cpp/NUMERICS.md",
            "cpp/bench/RESULTS.md",
            "tests/bench/RESULTS_PPO.md",
        )
    },
}
"""Pages outside docs/, by where they are on the site."""
_SHIM, _OWN_SHIM = "https://unpkg.com/iframe-worker/shim", "iframe_worker/shim.js"
_CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\(\s*)([^)\s#]+)(#[^)\s]*)?(\))")


# --- what is where -------------------------------------------------------------------------------------------------


def in_tree(page: str) -> str:
    """The path in the tree of a page of the site."""
    return next((path for path, there in ELSEWHERE.items() if there == page), f"docs/{page}")


def site_path(path: str) -> str:
    """The path on the site of a file of the tree; files that are no pages are shown as text."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).parent in (HEADERS, HEADERS.parent):
        return f"cpp_api/{header_name(Path(path)).removesuffix('.hpp')}.md"
    return f"files/{path}.txt"


def outside(text: str, change: Callable[[str], str]) -> str:
    """Changes what is no code in a page."""
    return "".join(part if i % 2 else change(part) for i, part in enumerate(_CODE.split(text)))


def targets(page: Path) -> Iterator[str]:
    """The files of the tree that a page links to."""
    for part in _CODE.split(page.read_text(encoding="utf-8"))[::2]:
        for _, target, _, _ in _LINK.findall(part):
            file = (page.parent / target).resolve()
            if ":" not in target and file.is_file():
                yield file.relative_to(ROOT).as_posix()


# --- the events of mkdocs ------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the API to the navigation."""
    python = [{"ganglion": "api/ganglion.md"}, *({f"ganglion.{room}": f"api/{room}.md"} for room in rooms())]
    cpp = [{header_name(header): site_path(header.relative_to(ROOT).as_posix())} for header in headers()]
    assert config.nav is not None
    config.nav.insert(-1, {"Python API": python})
    config.nav.insert(-1, {"C++ API": cpp})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/, and every file that a page links to."""

    def add(path: str, text: str) -> None:
        files.append(File.generated(config, path, content=text))

    for path, page in ELSEWHERE.items():
        add(page, (ROOT / path).read_text(encoding="utf-8"))
    add("api/ganglion.md", surface_page())
    for room in rooms():
        add(f"api/{room}.md", room_page(room))
    for header in headers():
        add(site_path(header.relative_to(ROOT).as_posix()), header_page(header))
    pages = [ROOT / in_tree(file.src_uri) for file in files.documentation_pages()]
    for path in sorted({path for page in pages if page.is_file() for path in targets(page)}):
        if site_path(path).startswith("files/"):
            add(site_path(path), (ROOT / path).read_text(encoding="utf-8"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Leads links to where their targets are on the site."""
    here = page.file.src_uri
    path = in_tree(here)
    if not (ROOT / path).is_file():
        return markdown

    def led(found: re.Match[str]) -> str:
        target = found[2]
        file = Path(os.path.normpath((ROOT / path).parent / target))
        if ":" in target or not file.is_file():
            return found[0]
        there = site_path(file.relative_to(ROOT).as_posix())
        return f"{found[1]}{posixpath.relpath(there, posixpath.dirname(here) or '.')}{found[3] or ''}{found[4]}"

    markdown = outside(markdown, lambda text: _LINK.sub(led, text))
    if here == "DIALECTS.md":  # each code can be linked to
        markdown = re.sub(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| (refusal|finding)", _named, markdown, flags=re.MULTILINE)
    if here == "codes.md":
        markdown += "\n## Every code\n\n" + codes_table()
    return markdown


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Takes from this site what the theme's search would fetch elsewhere, where pages are opened as files."""
    return output.replace(_SHIM, posixpath.relpath(_OWN_SHIM, posixpath.dirname(page.file.dest_uri) or "."))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:  # noqa: ARG001
    """The same for the page of what is not there."""
    return output_content.replace(_SHIM, _OWN_SHIM)


def _named(row: re.Match[str]) -> str:
    return "| " + re.sub(r"`([a-z-]+)`", r"`\1`{#\1}", row[1]) + f" | {row[2]}"


# --- the Python API ------------------------------------------------------------------------------------------------


def rooms() -> list[str]:
    """The public rooms but for the command line."""
    names = {path.stem for path in PACKAGE.iterdir() if not path.stem.startswith(("_", ".")) and path.stem != "py"}
    return sorted(names - {"cli"})


def source(module: str) -> Path:
    """The file of a module inside of the package, `policies.base` say."""
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class Module:
    """What a module says of itself, read without running it.

    Attributes:
        document: the docstring.
        names: `__all__`, else its public classes and functions.
        origins: where imported names come from, the module without `ganglion.` by name.
    """

    def __init__(self, module: str) -> None:
        tree = ast.parse(source(module).read_text(encoding="utf-8"))
        self.document = ast.get_docstring(tree) or ""
        self.origins: dict[str, str] = {}
        listed: list[str] | None = None
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganglion."):
                self.origins |= {alias.name: str(node.module).removeprefix("ganglion.") for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                listed = ast.literal_eval(node.value)
        kinds = (ast.ClassDef, ast.FunctionDef)
        own = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
        self.names = own if listed is None else listed

    def owner(self, room: str, name: str) -> str:
        """The public room that shows a name of this one: another one where it comes from there."""
        other = self.origins.get(name, room).split(".")[0]
        return other if other in rooms() and name in Module(other).names else room


def surface_page() -> str:
    """What `import ganglion` gives, each name with where it is described."""
    module = Module("")
    lines = ["# ganglion", "", module.document, "", "| name | described in |", "|---|---|"]
    for name in module.names:
        room = module.owner("", name)
        lines.append(f"| [`ganglion.{name}`]({room}.md#ganglion.{room}.{name}) | [ganglion.{room}]({room}.md) |")
    return "\n".join(lines) + "\n"


def room_page(room: str) -> str:
    """All that a public room gives."""
    module = Module(room)
    lines = [f"# ganglion.{room}", "", module.document, ""]
    for name in module.names:
        owner = module.owner(room, name)
        inside = f"{room}.{name}"
        if owner != room:
            lines += [f"[`{name}`]({owner}.md#ganglion.{owner}.{name}) is that of `ganglion.{owner}`.", ""]
        elif name not in module.origins and source(room).name == "__init__.py" and source(inside).is_file():
            lines += [f"## {inside}", "", Module(inside).document, ""]  # a module of its own
            lines += [
                f"::: ganglion.{inside}.{part}\n    options: {{heading_level: 3}}\n" for part in Module(inside).names
            ]
        else:
            lines += [f"::: ganglion.{inside}", ""]
    return "\n".join(lines) + "\n"


# --- the C++ API ---------------------------------------------------------------------------------------------------


def headers() -> list[Path]:
    """The public headers, what a controller includes first; those of C and C++17 last."""
    first = ["policy.hpp", "native_policy.hpp", "status.hpp", "contract.hpp"]
    found = sorted(path for path in HEADERS.iterdir() if path.suffix in (".hpp", ".in"))
    found.sort(key=lambda path: first.index(path.name) if path.name in first else len(first))
    return [*found, HEADERS.parent / "ganglion.h", HEADERS.parent / "ganglion.hpp"]


def header_name(path: Path) -> str:
    """`policy.hpp`; the one that CMake fills in, without its `.in`."""
    return path.name.removesuffix(".in")


def header_page(path: Path) -> str:
    """A header, cut at its declarations: the comment as text, what is declared as code."""
    folder = f"{path.parent.name}/" if path.parent == HEADERS else ""
    lines = [f"# {header_name(path)}", "", f"`#include <{folder}{header_name(path)}>`", ""]
    if path.suffix == ".h":
        return "\n".join(lines) + c_sections(path.read_text(encoding="utf-8"))
    for comment, code in declarations(path.read_text(encoding="utf-8")):
        name = _DECLARED.search(code)
        if name and not code.startswith(" "):  # no member
            lines += [f"## {next(part for part in name.groups() if part)}", ""]
        lines += [outside(text, lambda part: re.sub(r"([\[\]<>*_])", r"\\\1", part)) + "\n" for text in comment]
        lines += ["```cpp", textwrap.dedent(code), "```", ""] if code else []
    return "\n".join(lines) + "\n"


def c_sections(text: str) -> str:
    """A header of C, a chapter for each of its sections; their comments stay where they are."""
    opening, *sections = re.split(r"^/\* -+ ([\w ]+) -+ \*/$", text, flags=re.MULTILINE)
    lines = ["", f"```c\n{opening.strip()}\n```", ""]
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        lines += [f"## {title}", "", f"```c\n{section.strip()}\n```", ""]
    return "\n".join(lines)


_DECLARED = re.compile(
    r"^(?:template <.*>\n)?(?:class|struct|enum class)\s+(\w+)|^#define (\w+)|(\w+)[{(]", re.MULTILINE
)


def declarations(text: str) -> Iterator[tuple[list[str], str]]:
    """Comment (its paragraphs) and code of each declaration of a header; a class is cut at its members."""
    comment, code = [], []
    depth = inside = 0  # how many braces are open; of these, of namespaces and of such a class

    def done() -> Iterator[tuple[list[str], str]]:
        if comment or code:
            text = "\n".join(comment)
            yield [" ".join(part.split()) for part in re.split(r"\n\n+", text) if part], "\n".join(code)
        comment.clear()
        code.clear()

    private = False
    text = re.sub(r"^namespace detail \{.*?^\}.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in text.split("\n"):
        bare = re.sub(r'"[^"]*"|//.*', "", line).rstrip()
        before, depth = depth, depth + bare.count("{") - bare.count("}")
        if line.startswith(("#pragma once", "#include")):
            continue
        if re.match(r"namespace .*\{$", bare) or (before == inside and depth < inside):
            yield from done()
            inside, private = depth, False
        elif private:
            continue
        elif re.match(r"class .*\{$", bare):
            code.append(line)
            yield from done()
            inside = depth
        elif bare.strip() in ("public:", "private:"):
            yield from done()
            private = "private" in bare
        elif before == inside and not bare:
            if code or not line:
                yield from done()
            if line:
                comment.append(line.strip().lstrip("/"))
        else:
            code.append(line)
    yield from done()


# --- codes ---------------------------------------------------------------------------------------------------------


def codes() -> list[tuple[str, str, str, str]]:
    """Every code: its name, what it is, what it means, and the page (with an anchor) that says more."""
    section = (ROOT / "docs/DIALECTS.md").read_text(encoding="utf-8").partition("## Codes")[2].partition("\n## ")[0]
    found = []
    for names, kind, meaning in re.findall(r"^\| (`.*?`) \| (refusal|finding) \| (.*) \|$", section, re.MULTILINE):
        found += [(name, kind, meaning, f"DIALECTS.md#{name}") for name in re.findall(r"`([a-z-]+)`", names)]
    for header, kind in (("error", "ErrorCode"), ("status", "Status")):
        text = (HEADERS / f"{header}.hpp").read_text(encoding="utf-8")
        for name, meaning in re.findall(r"^  (\w+), +///< (.*)$", text, re.MULTILINE):
            found.append((name, f"`{kind}`", meaning, f"cpp_api/{header}.md#{kind.lower()}"))
    for node in ast.parse(source("errors").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            meaning = (ast.get_docstring(node) or "").partition("\n")[0]
            found.append((node.name, "exception", meaning, f"api/errors.md#ganglion.errors.{node.name}"))
    return sorted(found, key=lambda row: (row[0].lower(), row[1]))


def codes_table() -> str:
    """One alphabet of all of them."""
    rows = [f"| [`{name}`]({page}) | {kind} | {meaning} |" for name, kind, meaning, page in codes()]
    return "\n".join(["| code | what | meaning |", "|---|---|---|", *rows]) + "\n"
