"""Say what is wrong with a configuration: the file and line or the variable, the key, and what would be right."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def at(path: Path, text: str, location: tuple[str | int, ...]) -> str:
    """Give `file:line` of a key, or the file alone if the key is not found in its text."""
    line = _line_of(text, location)
    return f"{path}:{line}" if line else str(path)


def _line_of(text: str, location: tuple[str | int, ...]) -> int:
    """Find the line of a key as well as a reader would: its table's header, then the key below it; 0 if not found.

    For a key that is not there it is the line of the header.
    """
    names = [part for part in location if isinstance(part, str)]
    nth = next((part for part in location if isinstance(part, int)), 0)
    lines = text.splitlines()
    nearest = 0
    for depth in range(len(names), -1, -1):
        table, rest = ".".join(names[:depth]), names[depth:]
        start, seen = (0, 0) if not table else (-1, -1)
        for number, line in enumerate(lines, 1):
            header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
            if header:
                if start >= 0 and (not table or seen == nth):
                    break
                if header[1] == table:
                    seen += 1
                    if seen == nth or "[[" not in line:
                        start, seen = number, nth
            elif start >= 0 and rest and re.match(rf"\s*[\"']?{re.escape(rest[0])}[\"']?\s*[=.]", line):
                return number
        if start > 0 and not rest:
            return start
        nearest = nearest or max(start, 0)
    return nearest


def faults(
    root: type[BaseModel], error: ValidationError, path: Path | None, text: str, variables: Mapping[str, str]
) -> Iterator[str]:
    """Give a line for each fault; `variables` tells which dotted keys the environment set."""
    for fault in error.errors():
        location = fault["loc"]
        key = _dotted(location)
        paths = [_plain(location[:depth]) for depth in range(len(location), 0, -1)]
        place = next((variables[path] for path in paths if path in variables), "")
        where = place or (at(path, text, location) if path is not None else "configuration")
        if fault["type"] == "extra_forbidden":
            yield f"{where}: {key}: unknown key{_nearest(root, location)}"
            continue
        message = fault["msg"].removeprefix("Value error, ")
        given = "" if fault["type"] in {"value_error", "missing"} else f", got {_short(fault['input'])}"
        yield f"{where}: {key}: {message[:1].lower()}{message[1:]}{given}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location)


def _dotted(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _nearest(root: type[BaseModel], location: tuple[str | int, ...]) -> str:
    model: type[BaseModel] | None = root
    for part in location[:-1]:
        if isinstance(part, int) or model is None:
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation) if field is not None else None
    if model is None:
        return ""
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, 1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else f"; known keys here: {', '.join(known)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the section class in an annotation such as `Dane`, `Dane | None` or `tuple[RouteRule, ...]`."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
