"""The way in and out: a name and a password, with patience for those who guess.

Every login, right or wrong, is an event (`console.login`).
"""

import ipaddress
from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.responses import RedirectResponse

from ops.console.page import Answer, Call, Refused
from ops.console.rendering import span
from ops.console.visitors import remember
from ops.inert import inert
from ops.passwords import is_right
from pipeline import log
from pipeline.store.users import UserStore


def _place(wanted: str) -> str:
    """Give the page to go to after a login: one of ours, whatever was asked for."""
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if ours else "/"


def door(peer: str) -> str:
    """Give what patience is kept for: the address, or the network of an IPv6 address, which one host has to itself."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return peer


async def show(call: Call) -> Answer:
    """Ask for name and password."""
    if call.who:
        return RedirectResponse("/", 303)
    return {"next": _place(call.query("next")), "name": "", "wrong": ""}


async def enter(call: Call) -> Answer:
    """Let a user in."""
    name, users = call.form.text("name")[:100], UserStore(call.spine.redis)
    wait = await users.knock(name, door(call.peer))
    if wait:
        _tell(call, name, "paused")
        seconds = ceil(wait.total_seconds())
        raise Refused(
            429, f"Too many wrong passwords: wait {span(seconds)}, then try again.",
            headers={"Retry-After": str(seconds)},
        )  # fmt: skip
    user = await users.of(name)
    if not await is_right(user.password if user else None, call.form.exact("password")) or user is None:
        _tell(call, name, "wrong")
        return _again(call, name)
    await users.welcome(name, door(call.peer))
    await users.end(call.visitor.secret)
    secret = await users.begin(user, call.config.console.session)
    _tell(call, name, "right")
    response = RedirectResponse(_place(call.form.text("next")), 303)
    remember(call.request, response, secret)
    return response


def _again(call: Call, name: str) -> Mapping[str, Any]:
    wrong = "This name and this password do not belong together."
    return {"next": _place(call.form.text("next")), "name": name, "wrong": wrong}


async def leave(call: Call) -> Answer:
    """Let a user out."""
    await UserStore(call.spine.redis).end(call.visitor.secret)
    if call.visitor.is_user:
        _tell(call, call.who, "left")
    return call.go("/login", "You are logged out.")


def _tell(call: Call, name: str, outcome: str) -> None:
    level = "info" if outcome in {"right", "left"} else "warning"
    log.emit("console.login", level=level, who=inert(name), outcome=outcome, peer=call.peer)
