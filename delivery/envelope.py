"""The MAIL and RCPT commands of a message, with the parameters that a server offers and no others.

`unable` says why a message must not be given to a server at all: it is larger than the server takes (RFC 1870), has
8-bit octets (RFC 6152) or needs internationalised addresses or headers (RFC 6531) that the server does not offer.
Addresses are written with valid quoting; one that no quoting makes valid is `unable` too, and never reaches the wire.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stages.message import Address, Message, Recipient

_ATEXT = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Offers:
    """What the last EHLO offered: keywords in upper case, each with its parameters. Empty after HELO."""

    keywords: Mapping[str, str]

    @classmethod
    def read(cls, lines: str) -> "Offers":
        """Read the lines of an EHLO reply after the greeting line (RFC 5321 section 4.1.1.1)."""
        found: dict[str, str] = {}
        for line in lines.split("\n")[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            if keyword:
                found.setdefault(keyword.upper(), parameters.strip())
        return cls(found)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def size(self) -> int:
        """Give the most octets that are taken, 0 for no limit (RFC 1870 section 4)."""
        first = self.keywords.get("SIZE", "").partition(" ")[0]
        return int(first) if first.isascii() and first.isdigit() and len(first) <= 20 else 0


def path(address: Address | None, *, utf8: bool) -> str:
    """Write a path; None is the null one. Raises ValueError for what cannot be quoted (RFC 5321 section 4.1.2).

    With `utf8` the domain stays as the sender wrote it, else it is in A-labels (RFC 6531 section 3.7.1).
    """
    if address is None:
        return "<>"
    domain = address.text.rpartition("@")[2] if utf8 else address.domain
    if _CONTROL.search(address.local) or not domain or re.search(r"[\x00-\x20\x7f<>\ud800-\udfff]", domain):
        raise ValueError(f"no valid address: {address.text!r}")
    local = address.local
    if not _ATEXT.fullmatch(_NOT_ASCII.sub("x", local)):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"<{local}@{domain}>"


def header_needs_utf8(message: Message) -> bool:
    """Tell whether SMTPUTF8 is needed whoever the recipients are (RFC 6531 section 3.4)."""
    sender = message.envelope.sender
    return message.envelope.content.utf8_header or (sender is not None and not sender.local.isascii())


def address_needs_utf8(recipient: Recipient) -> bool:
    """Tell whether a recipient's address needs SMTPUTF8; a domain does not, it has A-labels."""
    return not recipient.address.local.isascii()


def unable(message: Message, content: bytes, offers: Offers) -> tuple[str, str] | None:
    """Say why a server with these offers must not get the message, as (status, sentence), or None."""
    limit = offers.size
    if limit and len(content) > limit:
        return "5.3.4", f"the message has {len(content)} octets, the server takes {limit}"
    if not content.isascii() and "8BITMIME" not in offers:
        return "5.6.3", "the message has 8-bit content, and the server does not offer 8BITMIME"
    if "SMTPUTF8" not in offers:
        if any(map(address_needs_utf8, message.recipients)):
            return "5.6.7", "the address is internationalised, and the server does not offer SMTPUTF8"
        sender = message.envelope.sender
        if sender is not None and not sender.local.isascii():
            return "5.6.7", "the sender's address is internationalised, and the server does not offer SMTPUTF8"
        if message.envelope.content.utf8_header:
            return "5.6.9", "the header is internationalised, and the server does not offer SMTPUTF8"
    try:
        path(message.envelope.sender, utf8=False)
    except ValueError as error:
        return "5.1.7", str(error)
    for recipient in message.recipients:
        try:
            path(recipient.address, utf8=True)
            path(recipient.address, utf8=False)
        except ValueError as error:
            return "5.1.3", str(error)
    parameters = (message.envelope.envid, *(recipient.orcpt for recipient in message.recipients))
    if any(_UNSAFE.search(given) for given in parameters if given is not None):
        return "5.5.4", "ENVID or ORCPT holds what no parameter may"
    return None


def uses_utf8(message: Message) -> bool:
    """Tell whether the SMTPUTF8 parameter is needed, which is the only time it is sent (RFC 6531 section 3.4)."""
    return header_needs_utf8(message) or any(map(address_needs_utf8, message.recipients))


def mail_command(message: Message, content: bytes, offers: Offers, *, with_size: bool = True) -> str:
    """Write MAIL with the parameters that are offered and wanted (RFC 1870, 6152, 6531, 3461 section 4)."""
    utf8 = uses_utf8(message)
    parts = [f"MAIL FROM:{path(message.envelope.sender, utf8=utf8)}"]
    if with_size and "SIZE" in offers:
        parts.append(f"SIZE={len(content)}")
    if not content.isascii():
        parts.append("BODY=8BITMIME")
    if utf8:
        parts.append("SMTPUTF8")
    if "DSN" in offers:
        if message.envelope.ret is not None:
            parts.append(f"RET={message.envelope.ret}")
        if message.envelope.envid is not None:
            parts.append(f"ENVID={message.envelope.envid}")
    return " ".join(parts)


def rcpt_command(recipient: Recipient, offers: Offers, *, utf8: bool) -> str:
    """Write RCPT; NOTIFY and ORCPT go on as they came, and only where DSN is offered (RFC 3461 section 5.2.1)."""
    parts = [f"RCPT TO:{path(recipient.address, utf8=utf8)}"]
    if "DSN" in offers:
        if recipient.notify:
            parts.append(f"NOTIFY={','.join(sorted(recipient.notify))}")
        if recipient.orcpt is not None:
            parts.append(f"ORCPT={recipient.orcpt if utf8 else _plain(recipient.orcpt)}")
    return " ".join(parts)


def _plain(orcpt: str) -> str:
    """Write an internationalised original recipient in the form for servers without SMTPUTF8 (RFC 6533 section 3)."""
    return _NOT_ASCII.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", orcpt)
