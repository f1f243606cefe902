"""How long a whole question may take where answers are proven here: a slow resolver makes mail wait, and no more."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dns.name
import dns.rdatatype
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Rules
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from ops.lab.nameserver import Nameserver, Rule
from ops.lab.scenario import Scenario
from ops.lab.zones import Tree, build
from stages.answer import Answer, Failed, Failure, Found, Question, Security

MX = Question("d.lab", "MX")
ROOT = dns.name.root
DOMAIN = dns.name.from_text("d.lab")


def _tree(*, signed: bool = True) -> Tree:
    """Build a domain whose MX says that it takes no mail."""
    return build([Scenario("d", "a domain", hosts=(), null_mx=True, signed=signed)], [], 25)


async def _asked(tree: Tree, slow: Sequence[Rule], time: timedelta) -> Answer:
    """Ask a name server that is slow at some questions, and have patience for any one of them."""
    nameserver = Nameserver(tree.zones, slow)
    await nameserver.open()
    settings = LocalSettings(Anchors.parse(tree.anchor), Rules(time=time), patience=30)
    answer = await LocalValidator(settings, lambda: datetime.now(UTC)).ask(Server("127.0.0.1", nameserver.port), MX)
    await nameserver.close()
    return answer


@pytest.mark.parametrize(
    "slow",
    [
        [Rule(ROOT, delay=0.1)],
        [Rule(DOMAIN, dns.rdatatype.MX, drop=True)],
        [Rule(ROOT, dns.rdatatype.DNSKEY, drop=True)],
        [Rule(DOMAIN, dns.rdatatype.DS, drop=True)],
    ],
    ids=["each answer comes late", "the answer never comes", "the keys never come", "DS never comes"],
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
async def test_a_question_that_takes_too_long_is_a_timeout(slow: list[Rule], *, signed: bool) -> None:
    """SEC-63, SEC-21: over the time of a whole question the lookup has failed: it is neither insecure nor bogus."""
    answer = await _asked(_tree(signed=signed), slow, timedelta(seconds=0.25))
    assert isinstance(answer, Failed)
    assert (answer.failure, answer.proofs, answer.ede) == (Failure.TIMEOUT, (), ())
    assert "took more than 0.25 s for one question" in answer.text


async def test_a_slow_resolver_within_the_time_is_waited_for() -> None:
    """SEC-63: late answers are answers, as long as all of them come in time."""
    answer = await _asked(_tree(), [Rule(ROOT, delay=0.01)], timedelta(seconds=30))
    assert isinstance(answer, Found)
    assert answer.security is Security.SECURE
