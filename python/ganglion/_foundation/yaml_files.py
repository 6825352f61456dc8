"""YAML files as plain data: none of their tags can run code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganglion._foundation.files import LARGEST_BYTES, read_file
from ganglion._foundation.sentences import first_line
from ganglion.errors import ArtifactError, EngineUnavailableError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import ModuleType

_MOST_NODES = 1_000_000


def read_yaml(path: str | os.PathLike[str], *, advice: str = "remove the tag") -> Any:
    """Reads a YAML file of plain data; of the tags of Python, those of tuples and slices, which are data, too.

    Args:
        path: the file.
        advice: what to do about another tag, for messages.

    Raises:
        ArtifactError: the file is missing, no YAML, has a tag, such as `!!python/object`, that asks for code, or
            unfolds to far more than it has bytes.
        EngineUnavailableError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise EngineUnavailableError("reading YAML needs PyYAML: pip install 'ganglion[adapters]'") from error
    data = read_file(path, limit=LARGEST_BYTES).data
    if not data:
        raise ArtifactError(f"'{path}' is empty")
    loader: Any = None
    try:
        loader = _loader(yaml)(data)
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(yaml, node, {}) > _MOST_NODES:
            raise ArtifactError(f"'{path}' unfolds to more than {_MOST_NODES:,} values by its aliases; write them out")
        return loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        where = "" if mark is None else f", line {mark.line + 1}"
        raise ArtifactError(
            f"'{path}'{where}: {error.problem or error}; only plain data is read, since a tag can run code: {advice}"
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # Of values that look like dates, numbers or text in other encodings and are none.
        raise ArtifactError(f"'{path}' is no YAML: {first_line(error)}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _unfolded(yaml: ModuleType, node: Any, known: dict[int, int]) -> int:
    """Number of values below a node, those behind aliases counted wherever they are used."""
    if id(node) not in known:
        known[id(node)] = 1  # an alias of what it stands in
        parts: Iterable[Any] = ()
        if isinstance(node, yaml.MappingNode):
            parts = (part for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = 1 + sum(_unfolded(yaml, part, known) for part in parts)
    return known[id(node)]


def _loader(yaml: ModuleType) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[name-defined, misc]
        pass

    def construct_tuple(loader: Any, node: Any) -> tuple[Any, ...]:
        return tuple(loader.construct_sequence(node, deep=True))

    def construct_slice(loader: Any, node: Any) -> slice:
        found: Any = None
        if isinstance(node, yaml.SequenceNode):
            found = loader.construct_sequence(node, deep=True)
        elif isinstance(node, yaml.MappingNode):
            found = loader.construct_mapping(node, deep=True)
            found = found["args"] if set(found) == {"args"} else None
        if not isinstance(found, list) or not 1 <= len(found) <= 3 or not all(map(_is_place, found)):
            raise yaml.constructor.ConstructorError(
                None, None, "a slice is three whole numbers or null: [start, stop, step]", node.start_mark
            )
        return slice(*found)

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", construct_tuple)
    for name in ("builtins.slice", "__builtin__.slice", "slice"):
        Loader.add_constructor(f"tag:yaml.org,2002:python/object/apply:{name}", construct_slice)
    return Loader


def _is_place(value: Any) -> bool:
    return value is None or type(value) is int
