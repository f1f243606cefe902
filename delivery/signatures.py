"""The signatures over a record set as a resolver hands them on: whose, from when to when, and the TTL they vouch for.

This proves nothing (`delivery.dnssec` does): it tells the owner of a zone how long what is proven now will stay so, and
the whole TTL of a record set, which a resolver's own answer has only the rest of (RFC 4034 section 3.1.4). Raises
`NoResponse`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dns.rcode
import dns.rdatatype

from delivery.nameserver import NoResponse, Server, exchange
from delivery.responses import failure_of, text_of
from stages.answer import Question


@dataclass(frozen=True, slots=True)
class Signed:
    """A record set with the signature over it that lasts longest."""

    name: str
    rdtype: str
    signer: str
    begins: datetime
    expires: datetime
    ttl: timedelta

    def is_ending(self, now: datetime, warn: timedelta) -> bool:
        """Tell whether it ends within `warn`, and nobody has renewed it in the last fifth of its life.

        Signers renew long before that; what is signed for a few days only is never further from its end than that.
        """
        return self.expires - now < min(warn, (self.expires - self.begins) / 5)


async def signatures(server: Server, question: Question, patience: float) -> tuple[Signed, ...]:
    """Ask for the signatures over an answer, aliases on the way included; none where it is not signed."""
    response = await exchange(server, question, patience=patience, checking_disabled=True)
    failure = failure_of(response)
    if failure is not None:
        raise NoResponse(failure, f"{server} answered {dns.rcode.to_text(response.rcode())} to {question}")
    found: dict[tuple[str, str], Signed] = {}
    for rrset in response.answer:
        if rrset.rdtype != dns.rdatatype.RRSIG:
            continue
        for one in rrset:
            made = Signed(
                text_of(rrset.name), dns.rdatatype.to_text(one.type_covered), text_of(one.signer),
                datetime.fromtimestamp(one.inception, UTC), datetime.fromtimestamp(one.expiration, UTC),
                timedelta(seconds=one.original_ttl),
            )  # fmt: skip
            key = (made.name, made.rdtype)
            if key not in found or found[key].expires < made.expires:
                found[key] = made
    return tuple(found.values())
