"""Forms that are read as the HTTP API reads its requests, with what was wrong told field by field."""

from collections.abc import Iterable, Mapping
from typing import Any

from ops.api.problem import Problem
from ops.console.page import Call, Refused


def given(call: Call, names: Iterable[str]) -> dict[str, str]:
    """Give what the form holds, for the form to show again."""
    return {name: call.form.text(name) for name in names}


def terms(call: Call, fields: Mapping[str, str]) -> dict[str, Any]:
    """Give the fields of an entry as the API takes them. Where no owner is given it is the user who is logged in."""
    user = call.who if call.visitor.is_user else ""
    return {**fields, "owner": fields.get("owner") or user, "expires": fields["expires"] or None}


def wrong(problem: Problem, fields: Mapping[str, str], needed: Iterable[str]) -> dict[str, str]:
    """Say for each field what is wrong with it; nothing for those that are right."""
    found = dict.fromkeys(fields, "") | {
        error.field: f"{error.detail[:1].upper()}{error.detail[1:]}." for error in problem.errors
    }
    return found | {name: "This is needed." for name in needed if not fields[name]}


def place(call: Call) -> int:
    """Read from which row on a list is shown. Raises `Refused`."""
    if call.cursor and not (call.cursor.isdecimal() and call.cursor.isascii() and len(call.cursor) < 10):
        raise Refused(422, "There is no such page of this list.")
    return int(call.cursor or 0)
