"""Strict YAML: plain data plus the place of every value, and nothing YAML can do beyond that.

Anchors and aliases (expansion bombs), tags (object construction), duplicate keys (the reader sees one, the program
the other), several documents and tab characters are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import yaml
from yaml.constructor import SafeConstructor

from libs.common.errors import FieldProblem, KtError
from services.gateway.adapters.config_schema import dotted

MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 16
_TOLD: Final = 5
_CORE_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "float"))

Path = tuple[str | int, ...]


class Mark(Protocol):
    """Where PyYAML says a thing stands, counted from 0."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both counted from 1."""

    line: int
    column: int

    @classmethod
    def of(cls, mark: Mark | None) -> Place:
        return cls(mark.line + 1, mark.column + 1) if mark is not None else cls(1, 1)

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(slots=True)
class Document:
    """``data`` holds dicts, lists, text, numbers, booleans and None. ``keys`` is where a member's name stands."""

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or the nearest thing around it."""
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, Place(1, 1))


def invalid(problem: FieldProblem) -> KtError:
    return config_error((problem,))


def config_error(problems: tuple[FieldProblem, ...]) -> KtError:
    """``invalid_config`` with every problem in its ``fields``, and the first ones in its sentence."""
    count = len(problems)
    told = [_sentence(problem) for problem in problems[:_TOLD]]
    if count == 1:
        detail = f"The gateway configuration has 1 problem: {told[0]}."
    else:
        more = [f"and {count - _TOLD} more"] if count > _TOLD else []
        detail = "\n".join((f"The gateway configuration has {count} problems:", *told, *more))
    return KtError("invalid_config", detail, "Correct the file and try again. What ran before goes on.", problems)


def _sentence(problem: FieldProblem) -> str:
    where = f"{problem.field}: " if problem.field else ""
    return f"{where}{problem.problem}; expected {problem.expected}"


def read_document(raw: bytes) -> Document:
    """Parse one YAML document.

    Raises:
        KtError: ``invalid_config`` with line and column; never with the text that stands there.
    """
    if len(raw) > MAX_BYTES:
        problem = f"the file has {len(raw):,} bytes"
        raise invalid(FieldProblem("", problem, f"at most {MAX_BYTES:,} bytes"))
    text = _decoded(raw)
    try:
        _refuse_features(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = Place.of(error.problem_mark or error.context_mark)
        raise invalid(FieldProblem("", f"{place}: this is not valid YAML", "block or flow style YAML")) from None
    except (yaml.YAMLError, ValueError):
        raise invalid(FieldProblem("", "the file is not valid YAML", "printable UTF-8 text")) from None
    if node is None:
        raise invalid(FieldProblem("", "the file is empty", "a mapping with pack and providers"))
    document = Document()
    document.data = _Converter(document).convert(node, ())
    return document


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise invalid(FieldProblem("", f"line {line}: this is not UTF-8", "UTF-8 text")) from None
    position = text.find("\t")
    if position >= 0:
        before = text[:position]
        place = Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
        raise invalid(FieldProblem("", f"{place}: a tab character", "spaces"))
    return text


def _refuse_features(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = Place.of(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise invalid(FieldProblem("", f"{place}: a second document", "one document"))
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise invalid(FieldProblem("", f"{place}: an anchor or alias", "the value itself, written out"))
        elif getattr(event, "tag", None) is not None:
            raise invalid(FieldProblem("", f"{place}: a tag", "a plain value without a tag"))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise invalid(FieldProblem("", f"{place}: nesting deeper than {_MAX_DEPTH}", "the form of the schema"))


class _Converter:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = SafeConstructor()

    def convert(self, node: yaml.Node, path: Path) -> Any:
        self._document.values[path] = Place.of(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place.of(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise invalid(FieldProblem(dotted(path), f"{place}: a key that is not text", "a field name"))
            key = str(key_node.value)
            if key in result:
                raise invalid(
                    FieldProblem(dotted(path), f"{place}: the same key for the second time", "each key once")
                )
            self._document.keys[(*path, key)] = place
            result[key] = self.convert(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        place = Place.of(node.start_mark)
        problem = FieldProblem(dotted(path), f"{place}: a value that YAML reads as a special type", "text in quotes")
        if node.tag not in _CORE_TAGS:  # a timestamp, a merge key or another type YAML 1.1 sees in plain text
            raise invalid(problem)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise invalid(problem) from None
