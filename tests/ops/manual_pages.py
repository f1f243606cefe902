"""The parts of the manual that are made from the code: `python -m tests.ops.manual_pages --write` renews them.

`settings.md` has a table of keys for each section and the profiles side by side, from the classes of `pipeline.settings`
and `stages.policy`; `log-events.md` has each event with its fields and an example, from the JSON Schema beside it;
`plugins.md` shows the distribution that `tests/plugin` installs and runs.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from ops.cli.config import TABLES
from pipeline.config import Config
from pipeline.settings import Dane
from pipeline.values import format_duration
from stages.policy import Profile, dane_policy

DOCS = Path(__file__).parents[2] / "ops" / "docs"
SCHEMA = DOCS / "log-events.schema.json"
# What a checked text is, by the function that checks it.
_WORDS = {
    "_domain": "domain name", "host_name": "host name", "_endpoint": "address:port", "_below": "domain or *.domain",
    "_server": "address or address@port", "_network": "network", "_question": "name/TYPE",
    "parse_duration": "duration", "parse_patience": "duration or `off`", "_parse_size": "size",
    "_endpoint_or_off": "address:port or `off`",
}  # fmt: skip
_UNSET = {
    "dane.retry": "as `queue.retry`",
    "dane.bounce_after": "as `queue.lifetime`",
    "dane.notify_delay_after": "as `queue.delay_notice`",
}


def keys() -> Iterator[tuple[str, FieldInfo]]:
    """Give every key, dotted, with its field; those of a list of tables as `[[route]].name`."""
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if name in TABLES:
            for key, inner in TABLES[name].model_fields.items():
                yield f"[[{name}]].{key}", inner
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            for key, inner in kind.model_fields.items():
                yield f"{name}.{key}", inner
        else:
            yield name, field


def kind_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """Say in words what values a key may have."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        return kind_of(annotation, (*metadata, *more))
    if get_origin(annotation) in {Union, UnionType} and not any(map(_word, metadata)):
        rest = [kind for kind in get_args(annotation) if kind is not NoneType]
        return " or ".join(dict.fromkeys(kind_of(kind, metadata) for kind in rest))
    if get_origin(annotation) is tuple:
        return f"list of: {kind_of(get_args(annotation)[0])}"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    word = next(filter(None, map(_word, metadata)), "")
    if word:
        return word
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{value}`" for value in annotation)
    if issubclass(annotation, BaseModel):
        return "table"
    words = {bool: "true or false", int: "number", float: "number", str: "text", SecretStr: "text", Path: "path"}
    return words.get(annotation, str(annotation.__name__)) + _bounds(metadata)


def _word(check: Any) -> str:
    """Say what a checked text is; empty for what checks no text."""
    return _WORDS.get(check.func.__name__, "") if isinstance(check, (AfterValidator, BeforeValidator)) else ""


def _bounds(metadata: tuple[Any, ...]) -> str:
    low = [one.ge for one in metadata if isinstance(one, Ge)] + [one.gt for one in metadata if isinstance(one, Gt)]
    high = [one.le for one in metadata if isinstance(one, Le)]
    text = f", from {max(low)}" if low else ""  # type: ignore[type-var]
    return f"{text}{' to' if text else ', to'} {high[0]}" if high else text


def _value(value: Any) -> str:
    """Write a value as the file has it."""
    match value:
        case timedelta():
            return json.dumps(format_duration(value))
        case tuple():
            return f"[{', '.join(_value(one) for one in value)}]"
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return json.dumps(str(value))


def _default(key: str, field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    if key == "hostname":
        return "the name of this machine"
    if field.default is None:
        by_profile = key.startswith("dane.")
        return "by profile" if by_profile else "not set"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "nothing differs"
    if kind_of(field.annotation, tuple(field.metadata)) == "size":
        return f'`"{value // 1024**2}M"`'
    return f"`{_value(value)}`"


def _escaped(text: object) -> str:
    """Keep stars from being read as emphasis."""
    return str(text).replace("*", r"\*")


def settings_tables() -> str:
    """Make a table for each section."""
    tables: dict[str, list[str]] = {}
    for key, field in keys():
        section = key.rpartition(".")[0]
        kind = kind_of(field.annotation, tuple(field.metadata))
        least = " (one at least)" if any(isinstance(one, MinLen) for one in field.metadata) else ""
        kind = _escaped(kind)
        row = f"| `{key.rpartition('.')[2]}` | {kind}{least} | {_default(key, field)} | {_escaped(field.description)} |"
        tables.setdefault(section, []).append(row)
    lines: list[str] = []
    for section, rows in tables.items():
        name = section.strip("[]")
        title = (
            f"### `{section}`" if section.startswith("[[") else f"### `[{section}]`" if section else "### At the top"
        )
        meaning = Config.model_fields[name].description if name else "before the first section"
        lines += [title, "", f"{str(meaning)[:1].upper()}{str(meaning)[1:]}.", ""]
        lines += ["| key | values | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def profile_table() -> str:
    """Set the profiles side by side, row by row of `[dane]`."""
    policies = [dane_policy(profile) for profile in Profile]
    lines = [f"| key | {' | '.join(f'`{profile}`' for profile in Profile)} |", "| --- | --- | --- | --- |"]
    for name in Dane.model_fields:
        if name not in {"mode", "profile"}:
            values = [getattr(policy, name) for policy in policies]
            shown = [_UNSET.get(f"dane.{name}", "-") if value is None else f"`{_value(value)}`" for value in values]
            lines.append(f"| `{name}` | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def event_sections() -> str:
    """Write each event with its fields and an example."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    lines: list[str] = []
    for event in schema["oneOf"]:
        lines += [f"### `{event['title']}`", "", event["description"], ""]
        fields = {name: field for name, field in event["properties"].items() if name != "event"}
        if fields:
            lines += ["| field | values | meaning |", "| --- | --- | --- |"]
            lines += [_field(name, field, name in event["required"]) for name, field in fields.items()]
            lines.append("")
        example = json.dumps(event["examples"][0], ensure_ascii=False)
        lines += ["```json", example, "```", ""]
    return "\n".join(lines)


def fact_table() -> str:
    """Write the facts that a verdict may rest on."""
    return _nested("stage.verdict", "facts")


def tls_table() -> str:
    """Write what is told of a handshake."""
    return _nested("delivery.attempt", "tls")


def _nested(title: str, name: str) -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    (event,) = [event for event in schema["oneOf"] if event["title"] == title]
    rows = [_field(key, field, required=True) for key, field in event["properties"][name]["properties"].items()]
    return "\n".join(["| field | values | meaning |", "| --- | --- | --- |", *rows, ""])


def _field(name: str, field: Mapping[str, Any], required: bool) -> str:  # noqa: FBT001 - by name or from a test
    if "enum" in field:
        kind = ", ".join(f"`{value}`" for value in field["enum"])
    elif field["type"] == "array":
        kind = "list of objects" if field["items"]["type"] == "object" else "list of texts"
    else:
        words = {
            "string": "text",
            "integer": "number",
            "number": "number",
            "boolean": "true or false",
            "object": "object",
        }
        types = [field["type"]] if isinstance(field["type"], str) else field["type"]
        kind = " or ".join(words.get(one, one) for one in types)
    return f"| `{name}` | {kind}{'' if required else ', not always'} | {field['description']} |"


def plugin_module() -> str:
    """Show the module of the plug-in that the tests install."""
    return _shown("suspended_senders.py", "python")


def plugin_project() -> str:
    """Show its pyproject.toml."""
    return _shown("pyproject.toml", "toml")


def _shown(name: str, language: str) -> str:
    text = (DOCS.parents[1] / "tests" / "plugin" / "distribution" / name).read_text(encoding="utf-8")
    return f"```{language}\n{text}```\n"


PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "settings.md": {"keys": settings_tables, "profiles": profile_table},
    "log-events.md": {"events": event_sections, "facts": fact_table, "tls": tls_table},
    "plugins.md": {"module": plugin_module, "project": plugin_project},
}


def renewed(page: str) -> str:
    """Give the text of a page with its made parts as they should be. Raises ValueError if it has no place for one."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, make in PARTS[page].items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{page} has no place for {name}")
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for _page in PARTS:
        if sys.argv[1:] == ["--write"]:
            (DOCS / _page).write_text(renewed(_page), encoding="utf-8")
        else:
            sys.stdout.write(renewed(_page))
