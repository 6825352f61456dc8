"""CMAKE_UNITY_BUILD compiles the files of a room together: no name of one of them may mean something in another.

Two definitions of a name are an error there. Two overloads are not: a call could mean that of the other file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOMS = Path(__file__).parents[3] / "cpp/src"
_NAMELESS = re.compile(r"^namespace \{\n(.*?)^\}  // namespace$", re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(
    r"^(?:(?:struct|class|enum class|enum) (?P<type>\w+)|using (?P<alias>\w+) =|"
    r"(?:[^\s(=#/]+ )+[&*]?(?P<called>\w+)(?:\(|(?:\[[^\]]*\])* ?[={;]))",
    re.MULTILINE,
)


def room_folders() -> list[Path]:
    return sorted(path.parent for path in ROOMS.rglob("CMakeLists.txt") if path.parent != ROOMS)


def names_of(text: str) -> Iterator[str]:
    """What a text defines or declares in its first column."""
    for found in _BEGINS.finditer(text):
        yield found["type"] or found["alias"] or found["called"]


def clashes(files: dict[str, str], headers: dict[str, str]) -> dict[str, list[str]]:
    """The names that more than one of the texts has, one at least for itself, and whose they are."""
    own, offered = defaultdict(set), defaultdict(set)
    for file, text in files.items():
        for block in _NAMELESS.findall(text):
            for name in names_of(block):
                own[name].add(file)
    for file, text in headers.items():
        for name in names_of(text):
            offered[name].add(file)
    everybody = {name: sorted(places | offered[name]) for name, places in own.items()}
    return {name: places for name, places in everybody.items() if len(places) > 1}


@pytest.mark.parametrize("room", room_folders(), ids=lambda path: path.relative_to(ROOMS).as_posix())
def test_a_name_of_a_file_is_its_own_in_its_room(room: Path) -> None:
    nested = [other for other in room_folders() if room in other.parents]

    def texts(suffix: str) -> dict[str, str]:
        files = (path for path in room.rglob(f"*{suffix}") if not set(nested) & set(path.parents))
        return {path.relative_to(room).as_posix(): path.read_text(encoding="utf-8") for path in files}

    files = texts(".cpp")
    assert files
    assert clashes(files, texts(".hpp")) == {}


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("[[noreturn]] void refuse(const std::string& why) {\n}\n", "void refuse(const char* why) {\n}\n", "refuse"),
        ("constexpr int most = 3;\n", "constexpr std::size_t most = 4;\n", "most"),
        ("constexpr Word words[] = {\n    {1}};\n", "constexpr std::array<int, 2> words{1, 2};\n", "words"),
        ("struct Token {\n};\n", "class Token {\n};\n", "Token"),
        ("using Json = Value;\n", "using Json = Other;\n", "Json"),
        (
            "const char* name_of(Kind kind) { return names[kind]; }\n",
            "std::string& name_of() { return x; }\n",
            "name_of",
        ),
    ],
)
def test_clashes_are_found(first: str, second: str, name: str) -> None:
    def file(block: str) -> str:
        return f"namespace room {{\n\nnamespace {{\n{block}}}  // namespace\n\n}}  // namespace room\n"

    assert clashes({"a.cpp": file(first), "b.cpp": file(second)}, {}) == {name: ["a.cpp", "b.cpp"]}
    assert clashes({"a.cpp": file(first), "b.cpp": second}, {}) == {}
    assert clashes({"a.cpp": file(first)}, {"b.hpp": second}) == {name: ["a.cpp", "b.hpp"]}
