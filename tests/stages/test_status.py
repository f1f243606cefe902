"""The status of each trouble: the table of enhanced codes, by what they mean (RFC 3463, RFC 5248, RFC 7505)."""

import pytest

from stages.plan import Trouble
from stages.status import STATUS, refused, waiting

T = Trouble
# what it means, while mail waits, when it is refused (a class 4 stays where only time gives mail up: DSN-48, DSN-49)
MEANINGS: list[tuple[tuple[T, ...], str, str]] = [
    ((T.MISMATCH, T.UNUSABLE, T.MANDATORY, T.UNTRUSTED, T.HANDSHAKE), "4.7.5", "5.7.5"),  # X.7.5 cryptographic failure
    ((T.BOGUS_MX, T.BOGUS_ADDRESS, T.BOGUS_TLSA), "4.7.5", "5.7.5"),
    ((T.LOOKUP_MX, T.LOOKUP_ADDRESS, T.LOOKUP_TLSA, T.SUSPENDED), "4.4.3", "4.4.3"),  # X.4.3 directory server failure
    ((T.NO_STARTTLS,), "4.7.10", "5.7.10"),  # X.7.10 encryption needed
    ((T.NXDOMAIN,), "4.1.2", "5.1.2"),  # X.1.2 bad destination system
    ((T.BAD_LITERAL,), "4.1.3", "5.1.3"),  # X.1.3 bad address syntax
    ((T.NULL_MX,), "4.1.10", "5.1.10"),  # X.1.10 null MX
    ((T.NO_ADDRESS, T.ALIAS_REFUSED), "4.4.4", "5.4.4"),  # X.4.4 unable to route
    ((T.SELF, T.FORBIDDEN_ADDRESS), "4.4.6", "5.4.6"),  # X.4.6 routing loop
    ((T.CONNECT,), "4.4.1", "4.4.1"),  # X.4.1 no answer from host
    ((T.LOST, T.TIMEOUT), "4.4.2", "4.4.2"),  # X.4.2 bad connection
    ((T.GREETING,), "4.3.2", "5.3.2"),  # X.3.2 system not accepting messages
    ((T.CLOSING,), "4.3.2", "4.3.2"),
    ((T.PROTOCOL,), "4.5.0", "4.5.0"),  # X.5.0 other protocol status
]


@pytest.mark.parametrize(("troubles", "while_waiting", "when_refused"), MEANINGS)
def test_each_trouble_has_its_code(troubles: tuple[T, ...], while_waiting: str, when_refused: str) -> None:
    """DSN-35, DSN-36 (RFC 3463 3): a class of trouble is told by one code, 4 while it waits, 5 when refused."""
    assert {waiting(trouble) for trouble in troubles} == {while_waiting}
    assert {refused(trouble) for trouble in troubles} == {when_refused}


def test_no_trouble_is_left_out() -> None:
    """DSN-36: every trouble that there is has a code, so the general X.0.0 is for replies without one alone."""
    named = [trouble for troubles, _, _ in MEANINGS for trouble in troubles]
    assert sorted(named) == sorted(T) == sorted(STATUS)
