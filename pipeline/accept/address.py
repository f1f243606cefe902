"""Read mailboxes: RFC 5321 section 4.1.2, with RFC 6531 for internationalised ones.

`parse_address` gives an `Address` whose domain is in A-labels, or raises `AddressError` with a sentence that names the
address and says what would be right. A domain must be fully qualified (RFC 6409 section 4.2) or an address literal.
"""

import ipaddress
import re

import idna

from stages.message import Address

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u00a0-\U0010ffff]|\\[ -~])*)"')
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
MAX_LOCAL = 64  # octets (RFC 5321 section 4.5.3.1.1)
MAX_DOMAIN = 255
MAX_PATH = 256  # with the brackets (section 4.5.3.1.3)


class AddressError(ValueError):
    """Text that is no mailbox; `status` is the enhanced status code to answer with."""

    def __init__(self, text: str, status: str = "5.1.3") -> None:
        super().__init__(text)
        self.status = status


def parse_address(text: str, *, smtputf8: bool = True) -> Address:
    """Read `local@domain`. Raises `AddressError`; without `smtputf8` also for non-ASCII ones (RFC 6531 3.5)."""
    if not smtputf8 and not text.isascii():
        raise AddressError(f"{text!r} is not ASCII: SMTPUTF8 must be asked for", "5.6.7")
    if not text.isascii() and any(0xD800 <= ord(one) <= 0xDFFF for one in text):  # octets that were no UTF-8
        raise AddressError(f"{text!r} is not valid UTF-8", "5.6.7")
    if len(text.encode()) > MAX_PATH - 2:
        raise AddressError(f"{text[:40]!r}... is longer than the {MAX_PATH - 2} octets that a path may have")
    local, domain = _split(text)
    return Address(local, _domain(text, domain), text.removesuffix("."))


def _split(text: str) -> tuple[str, str]:
    if text.startswith('"'):
        found = _QUOTED.match(text)
        if not found or text[found.end() : found.end() + 1] != "@":
            raise AddressError(f'{text!r}: the quoted local part does not end, expected "local part"@example.com')
        raw, rest = found[0], text[found.end() + 1 :]
        local = re.sub(r"\\(.)", r"\1", found[1])
    else:
        raw, at, rest = text.rpartition("@")
        local = raw
        if not at:
            raise AddressError(f"{text!r} has no domain, expected something like user@example.com")
        if not _DOT_STRING.fullmatch(raw):
            raise AddressError(f"{text!r}: {raw!r} is no local part, expected something like user@example.com")
    if len(raw.encode()) > MAX_LOCAL:
        raise AddressError(f"{text!r}: the local part is longer than {MAX_LOCAL} octets")
    return local, rest


def _domain(text: str, domain: str) -> str:
    if domain.startswith("["):
        return _literal(text, domain)
    name = domain.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True, transitional=False).decode()
        except idna.IDNAError as error:
            raise AddressError(f"{text!r}: {domain!r} is no domain name: {error}", "5.1.2") from error
    labels = name.split(".")
    if len(name) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"{text!r}: {domain!r} is no domain name, expected something like example.com", "5.1.2")
    if len(labels) < 2:
        raise AddressError(f"{text!r}: the domain {domain!r} is not fully qualified", "5.1.2")
    if labels[-1].isdigit():
        raise AddressError(f"{text!r}: write an address as a literal, such as user@[192.0.2.1]", "5.1.2")
    return name


def _literal(text: str, domain: str) -> str:
    # A zone ("%eth0") means nothing in mail, and could hold any octets: what has one is not read at all.
    inner = domain[1:-1] if domain.endswith("]") and "%" not in domain else ""
    tagged = inner[:5].lower() == "ipv6:"
    try:
        address = ipaddress.IPv6Address(inner[5:]) if tagged else ipaddress.IPv4Address(inner)
    except ValueError:
        raise AddressError(
            f"{text!r}: {domain!r} is no address literal, expected [192.0.2.1] or [IPv6:2001:db8::1]"
        ) from None
    return f"[IPv6:{address}]" if tagged else f"[{address}]"
