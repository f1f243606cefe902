"""The page that explains what would become of mail to an address, and why; nothing is sent.

A link asks DNS alone. To connect to the hosts takes a form of ours, since a link on another site could cause it
otherwise, and a user who may act. Each question is worked on in a thread, a few at a time, and for so long at most.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from ops.cli.explain import SOURCES, explained
from ops.console.aside import aside
from ops.console.page import Answer, Call, Refused
from ops.console.tree import decisive, tree_of
from ops.explain import Explanation
from ops.explain_views import as_json
from pipeline.accept.address import AddressError, parse_address
from stages.message import Address, Origin

LONGEST = 30.0  # seconds for one explanation, connections included
_turns = asyncio.Semaphore(4)
_DOMAIN = "postmaster"  # whom a domain by itself is asked about (RFC 5321 section 4.5.1)


class _Wrong(Exception):  # noqa: N818 - it goes back into the form
    """A field of the form; the text says what is wrong with it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


async def show(call: Call) -> Answer:
    """Show the form, or explain what a link asks."""
    asked = {"address": call.query("address"), "sender": call.query("sender"), "source": call.query("source", "send")}
    if not asked["address"]:
        return _page(asked)
    return await _answered(call, asked, connecting=False)


async def ask(call: Call) -> Answer:
    """Explain what the form asks; without connections, by a link that can be kept."""
    asked = {name: call.form.text(name) for name in ("address", "sender", "source")}
    asked["source"] = asked["source"] or "send"
    connecting = call.form.text("connect") == "yes"
    as_plain = call.form.text("as") == "json"
    if connecting and not call.visitor.may_act:
        raise Refused(403, f"The user {call.who} may look, and may not make connections to others.")
    if not connecting:
        return call.go(f"/explain{'.json' if as_plain else ''}?{_link(asked)}")
    if as_plain:
        return await _plain(call, asked, connecting=True)
    return await _answered(call, asked, connecting=True)


async def plain(call: Call) -> Answer:
    """Give what a link asks as JSON."""
    asked = {"address": call.query("address"), "sender": call.query("sender"), "source": call.query("source", "send")}
    return await _plain(call, asked, connecting=False)


async def _plain(call: Call, asked: Mapping[str, str], *, connecting: bool) -> Response:
    try:
        found = await _found(call, asked, connecting=connecting)
    except _Wrong as wrong:
        raise Refused(422, str(wrong)) from wrong
    return Response(orjson.dumps(as_json(found), option=orjson.OPT_INDENT_2), media_type="application/json")


async def _answered(call: Call, asked: Mapping[str, str], *, connecting: bool) -> Mapping[str, Any]:
    try:
        found = await _found(call, asked, connecting=connecting)
    except _Wrong as wrong:
        return _page(asked, {wrong.field: str(wrong)}, connecting=connecting)
    except Refused as refused:
        return _page(asked, fault=str(refused), connecting=connecting)
    return _page(asked, found=found, connecting=connecting)


def _page(
    asked: Mapping[str, str], wrong: Mapping[str, str] | None = None, found: Explanation | None = None,
    *, fault: str = "", connecting: bool = False,
) -> Mapping[str, Any]:  # fmt: skip
    return {
        "asked": asked, "wrong": {"address": "", "sender": "", "source": "", **(wrong or {})},
        "sources": SOURCES, "found": found, "fault": fault,
        "connecting": connecting, "link": _link(asked),
        "verdict": decisive(found) if found else None, "tree": tree_of(found) if found else (),
        "again": all(text.isprintable() for text in asked.values()),
    }  # fmt: skip


def _link(asked: Mapping[str, str]) -> str:
    usual = {"sender": "", "source": "send"}
    return urlencode({name: text for name, text in asked.items() if text != usual.get(name)})


async def _found(call: Call, asked: Mapping[str, str], *, connecting: bool) -> Explanation:
    """Decide, in a thread of its own. Raises `_Wrong` and `Refused`."""
    text, sender = asked["address"], asked["sender"]
    recipient = _address("address", text if "@" in text else f"{_DOMAIN}@{text}")
    from_ = None if sender in {"", "<>"} else _address("sender", sender)
    if asked["source"] not in SOURCES:
        raise _Wrong("source", "expected one of: " + ", ".join(SOURCES))
    origin = Origin(asked["source"])
    return await aside(
        call, _turns, LONGEST, lambda: explained(call.config, recipient, from_, origin, connecting=connecting)
    )


def _address(field: str, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise _Wrong(field, str(error)) from error
