"""Ourselves among the hosts of a domain: where mail would come back to us, it must not be sent.

A relay that finds one of its own names or addresses in an MX set leaves out that preference and all worse ones, and
if none is left the mail has no way to go (RFC 5321 section 5.1). A domain without MX is its own host of preference 0,
and so is looked at alike. Nothing here asks DNS: the answers are arguments.
"""

from collections.abc import Iterable, Mapping

from stages.answer import Answer, Found, Question
from stages.plan import Skipped, Trouble
from stages.records import IP


def ourselves(host: str, preference: int, why: str) -> Skipped:
    """Leave a host out because it is this server."""
    text = f"{why}: hosts of preference {preference} and worse are left out (RFC 5321 5.1)"
    return Skipped(host, preference, Trouble.SELF, text, permanent=True)


def addresses(answers: Iterable[Answer]) -> list[str]:
    """List the addresses in answers, whatever policy thinks of them."""
    found = [answer for answer in answers if isinstance(answer, Found)]
    return [record.address for answer in found for record in answer.records if isinstance(record, IP)]


def by_address(
    hosts: Iterable[tuple[int, str]], answers: Mapping[Question, Answer], own: frozenset[str]
) -> Skipped | None:
    """Find the first of the hosts, given by (preference, name) in order, that has an address of ours."""
    for preference, host in hosts:
        shared = own & set(addresses(answers[Question(host, rdtype)] for rdtype in ("A", "AAAA")))
        if shared:
            return ourselves(host, preference, f"{host} has the address {min(shared)}, which is this server")
    return None
