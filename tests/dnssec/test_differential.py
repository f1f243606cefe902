"""Random zones, damaged at random, judged by us and by a real Unbound with the same anchor and clock: the state agrees.

`DANEPIPE_DIFFERENTIAL` sets the number of cases, `DANEPIPE_SEED` which; `make differential` runs 50,000 others each time,
with its seed printed and without a timeout. Where the two differ, `EXPLAINED` says by which section we are right; a
difference that fits no row fails the test, and no row may excuse an answer that we believe more than Unbound does, but
for those that say so.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from delivery.dnssec.replies import Outcome
from tests.dnssec.cases import Bench, Case
from tests.dnssec.ours import judged, state
from tests.dnssec.strategies import cases
from tests.dnssec.unbound import Verdict

COUNT = int(os.environ.get("DANEPIPE_DIFFERENTIAL", "2000"))
SEED = int(os.environ.get("DANEPIPE_SEED", "20261125"))


def _damaged(case: Case, *whats: str) -> bool:
    return any(damage.what in whats for damage in case.damages)


def _below_dname(case: Case) -> bool:
    return "dn" in case.name.split(".")[1:]  # as all trees call it


def _is_alias(case: Case) -> bool:
    return not {"c", "c2", "cw", "dn"}.isdisjoint(case.name.split("."))


@dataclass(frozen=True, slots=True)
class Why:
    """A kind of difference: what Unbound says, what we say, and when that is so."""

    unbound: str
    ours: str
    text: str
    fits: Callable[[Case, Verdict, Outcome], bool]


EXPLAINED = (
    Why("bogus", "failed", "a DS or DNSKEY question without an answer proves nothing: RFC 4035 4.3, RFC 7672 2.1.1",
        lambda _case, _verdict, outcome: outcome.failure is not None),
    Why("secure", "failed", "an answer that contradicts its RCODE is no answer",
        lambda case, _verdict, _outcome: _damaged(case, "says NXDOMAIN")),
    Why("insecure", "failed", "the same", lambda case, _verdict, _outcome: _damaged(case, "says NXDOMAIN")),
    Why("insecure", "bogus", "all record sets of an answer must be authentic, also one that is gone: RFC 4035 3.2.3",
        lambda case, _verdict, _outcome: _damaged(case, "lost set with signature left")),
    Why("secure", "bogus", "the same", lambda case, _v, _o: _damaged(case, "lost set with signature left")),
    Why("insecure", "bogus", "a proof of no such record is none of no such name: RFC 4035 5.4",
        lambda case, _verdict, _outcome: _damaged(case, "says NXDOMAIN")),
    Why("secure", "bogus", "labels that lead out of the zone, or denials made from a wildcard: RFC 4034 3.1.3, RFC 4035 5.3",
        lambda case, _verdict, _outcome: _damaged(case, "fewer labels")),
    Why("secure", "bogus", "DS records that a wildcard stands for mean nothing: RFC 4592 4.6",
        lambda case, _v, outcome: _damaged(case, "signature of another set") and "from a wildcard" in outcome.why),
    Why("secure", "bogus", "DS records with SHA-1 do not count beside others with SHA-256: RFC 4509 3",
        lambda case, _verdict, _outcome: _damaged(case, "one more DS", "wrong DS of SHA-256")),
    Why("insecure", "bogus", "the same", lambda case, _v, _o: _damaged(case, "one more DS", "wrong DS of SHA-256")),
    Why("insecure", "bogus", "NSEC3 records of one proof must have the same salt and iterations: RFC 5155 8.2",
        lambda case, _verdict, _outcome: _damaged(
            case, "many iterations", "other iterations", "other salt", "altered salt", "altered iterations")),
    Why("insecure", "bogus", "the same, where the proof would have been an opt-out",
        lambda case, _verdict, _outcome: _damaged(case, "fewer labels")),
    Why("insecure", "bogus", "an encloser that claims NS without SOA is a cut and proves nothing below: RFC 5155 8.3, 6840 4.1",
        lambda case, _verdict, _outcome: _damaged(case, "denial says there is the type", "denial says there is a cut")),
    Why("secure", "bogus", "Unbound asks for the target of an alias anew, and takes that for the end of the answer",
        lambda case, _verdict, _outcome: _damaged(case, "says NOERROR", "says NXDOMAIN", "no proofs", "empty")),
    Why("failed", "insecure", "the same: the target is refused, and what came with the alias was enough",
        lambda case, _verdict, _outcome: _damaged(case, "refused", "server failure")),
    Why("failed", "secure", "the same", lambda case, _verdict, _outcome: _damaged(case, "refused", "server failure")),
    Why("failed", "bogus", "the same", lambda case, _verdict, _outcome: _damaged(case, "refused", "server failure")),
    Why("secure", "bogus", "Unbound asks for the target of an alias anew, and gets what is not damaged",
        lambda case, _verdict, _outcome: _is_alias(case)),
    Why("insecure", "bogus", "the same", lambda case, _verdict, _outcome: _is_alias(case)),
    # Believed more than by Unbound:
    Why("bogus", "insecure", "below an insecure cut nothing need be signed, whoever signed it: RFC 4035 4.3",
        lambda case, _v, outcome: _damaged(case, "signed by the zone above", "denial from above")
        and "without DS records" in outcome.why),
    Why("bogus", "insecure", "a signed proof of a cut without DS makes that name insecure, asked for NS too: RFC 4035 5.2",
        lambda case, _v, outcome: _damaged(case, "denial says there is a cut") and case.rdtype == "NS"
        and "without DS records" in outcome.why),
    Why("bogus", "secure", "the CNAME that a DNAME makes is all that was asked for, whatever lies behind it: RFC 6672 3.1",
        lambda case, _verdict, _outcome: case.rdtype == "CNAME" and _below_dname(case)),
    Why("insecure", "secure", "the same", lambda case, _verdict, _outcome: case.rdtype == "CNAME" and _below_dname(case)),
    Why("bogus", "secure", "a question for a literal wildcard may be answered from another one: RFC 4592 3.3.1",
        lambda case, _verdict, _outcome: "*" in case.name.split(".")),
    Why("bogus", "insecure", "the same", lambda case, _verdict, _outcome: "*" in case.name.split(".")),
)  # fmt: skip


def test_we_judge_as_unbound_does(bench: Bench) -> None:
    """SEC-01 to SEC-58, SEC-66 to SEC-68: over thousands of zones, whole and damaged, every difference is explained."""
    seen: Counter[tuple[str, str]] = Counter()
    unexplained: list[str] = []
    kinds: set[object] = set()  # of those, so that one of each kind is shown

    @seeded(SEED)
    @settings(
        max_examples=COUNT,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def judge(case: Case) -> None:
        placed = case.placed
        verdict, outcome = bench.verdict(placed), judged(placed)
        pair = (str(verdict.state), state(outcome))
        seen[pair] += 1
        if pair[0] != pair[1] and not any(
            (why.unbound, why.ours) == pair and why.fits(case, verdict, outcome) for why in EXPLAINED
        ):
            what = f"{case.name}/{case.rdtype}, {', '.join(map(str, case.damages)) or 'whole'}"
            said = f"Unbound {sorted(verdict.codes)} {verdict.text}, ours {outcome.why}"
            kind = (pair, *(damage.what for damage in case.damages))
            unexplained.insert(len(unexplained) if kind in kinds else 0, f"{pair}: {what}: {said}\n  {case}")
            kinds.add(kind)

    judge()
    assert not unexplained, f"{len(unexplained)} of {sum(seen.values())}:\n" + "\n".join(unexplained[:5])
    assert sum(count for (theirs, ours), count in seen.items() if theirs == ours) >= 0.9 * sum(seen.values())
    assert min(seen["secure", "secure"], seen["bogus", "bogus"], seen["insecure", "insecure"]) > COUNT / 50
