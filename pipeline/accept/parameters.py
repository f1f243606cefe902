"""Read the arguments of MAIL and RCPT: the path and the ESMTP parameters (RFC 5321 section 4.1.2, RFC 3461, RFC 1870).

`read_mail` and `read_rcpt` raise `Refused`, which is the reply to give. Valid DSN parameters never change the reply;
invalid and repeated ones are refused with 501 (RFC 3461 section 5.1).
"""

import re
from dataclasses import dataclass

from pipeline.accept.address import AddressError, parse_address
from stages.message import Address, Notify, Ret

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-~\u0080-\U0010ffff]|\+[0-9A-F]{2}|\\x\{[0-9A-F]{2,6}\})*")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# almost every path: nothing in it is quoted, so that its first ">" is its end
_PLAIN = {word: re.compile(rf'{word}:[ \t]*<([^">]*)>(?= |\Z)', re.IGNORECASE) for word in ("FROM", "TO")}
_ROUTE = re.compile(r"@(?:[^:\[]|\[[^\]]*\])*:")  # only in front: an IPv6 literal has colons too


class Refused(Exception):  # noqa: N818 - it is a reply
    """A command is refused with this reply."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Mail:
    """What MAIL said."""

    sender: Address | None
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """What RCPT said."""

    address: Address
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None


def read_mail(argument: str, max_size: int) -> Mail:
    """Read `FROM:<path> parameters`. Raises `Refused`."""
    path, parameters = _split("FROM", argument)
    given = _parameters(parameters, {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"})
    if "SMTPUTF8" in given and given["SMTPUTF8"] is not None:
        raise Refused(501, "5.5.4", "SMTPUTF8 takes no value")
    smtputf8 = "SMTPUTF8" in given
    size = given.get("SIZE", "0") or ""
    if not size.isascii() or not size.isdigit() or len(size) > 20:
        raise Refused(501, "5.5.4", f"SIZE={size} is no number of octets")
    if int(size) > max_size:
        raise Refused(552, "5.3.4", f"the message may have {max_size} octets at most")
    if "BODY" in given and (given["BODY"] or "").upper() not in {"7BIT", "8BITMIME"}:
        raise Refused(501, "5.5.4", "BODY must be 7BIT or 8BITMIME")
    return Mail(_address(path, smtputf8=smtputf8) if path else None, smtputf8, _ret(given), _envid(given))


def read_rcpt(argument: str, *, smtputf8: bool, hostname: str) -> Rcpt:
    """Read `TO:<path> parameters`; `postmaster` alone means that of this host. Raises `Refused`."""
    path, parameters = _split("TO", argument)
    given = _parameters(parameters, {"NOTIFY", "ORCPT"})
    if not path:
        raise Refused(501, "5.1.3", "the null path is no recipient")
    if path.lower() == "postmaster":  # RFC 5321 section 4.5.1
        address = Address(path, hostname, f"{path}@{hostname}")
    else:
        address = _address(path, smtputf8=smtputf8)
    return Rcpt(address, _notify(given), _orcpt(given, smtputf8=smtputf8))


def _split(word: str, argument: str) -> tuple[str, str]:
    """Part a path from its parameters, minding quoted local parts; a source route is dropped (RFC 5321 appendix C)."""
    plain = _PLAIN[word].match(argument)
    if plain:
        return _without_route(plain[1]), argument[plain.end() :]
    found = re.match(rf"{word}:[ \t]*<", argument, re.IGNORECASE)
    if not found:
        raise Refused(501, "5.5.4", f"expected {word}:<address>")
    quoted, escaped = False, False
    for place in range(found.end(), len(argument)):
        character = argument[place]
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            rest = argument[place + 1 :]
            if rest and not rest.startswith(" "):
                raise Refused(501, "5.5.4", f"unexpected text after <{argument[found.end() : place]}>")
            return _without_route(argument[found.end() : place]), rest
    raise Refused(501, "5.5.4", f"the path does not end with '>': expected {word}:<address>")


def _without_route(path: str) -> str:
    route = _ROUTE.match(path)
    return path[route.end() :] if route else path


def _parameters(text: str, known: set[str]) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for word in text.split():
        keyword, equals, value = word.partition("=")
        name = keyword.upper()
        if not _KEYWORD.fullmatch(keyword):
            raise Refused(501, "5.5.4", f"{keyword!r} is no parameter")
        if name not in known:
            raise Refused(555, "5.5.4", f"the parameter {name} is not known here")
        if name in given:
            raise Refused(501, "5.5.4", f"{name} is given twice")
        given[name] = value if equals else None
    return given


def _address(path: str, *, smtputf8: bool) -> Address:
    try:
        return parse_address(path, smtputf8=smtputf8)
    except AddressError as error:
        code = 553 if error.status == "5.6.7" else 501
        raise Refused(code, error.status, str(error)) from error


def _ret(given: dict[str, str | None]) -> Ret | None:
    if "RET" not in given:
        return None
    try:
        return Ret((given["RET"] or "").upper())
    except ValueError:
        raise Refused(501, "5.5.4", "RET must be FULL or HDRS") from None


def _envid(given: dict[str, str | None]) -> str | None:
    if "ENVID" not in given:
        return None
    value = given["ENVID"] or ""
    if not value or len(value) > 100 or not _XTEXT.fullmatch(value):
        raise Refused(501, "5.5.4", "ENVID must be xtext of at most 100 characters")
    return value


def _notify(given: dict[str, str | None]) -> frozenset[Notify] | None:
    if "NOTIFY" not in given:
        return None
    words = (given["NOTIFY"] or "").upper().split(",")
    try:
        kinds = frozenset(Notify(word) for word in words)
    except ValueError:
        raise Refused(501, "5.5.4", "NOTIFY must be NEVER or a list of SUCCESS, FAILURE, DELAY") from None
    if len(kinds) != len(words) or (Notify.NEVER in kinds and len(kinds) > 1):
        raise Refused(501, "5.5.4", "NOTIFY must be NEVER alone or each of SUCCESS, FAILURE, DELAY at most once")
    return kinds


def _orcpt(given: dict[str, str | None], *, smtputf8: bool) -> str | None:
    if "ORCPT" not in given:
        return None
    value = given["ORCPT"] or ""
    kind, semicolon, text = value.partition(";")
    form = _UTF8_XTEXT if smtputf8 and kind.lower() == "utf-8" else _XTEXT
    if not semicolon or len(value) > 500 or not _ATOM.fullmatch(kind) or not text or not form.fullmatch(text):
        raise Refused(501, "5.5.4", "ORCPT must be an address type, ';' and xtext, at most 500 characters")
    return value
