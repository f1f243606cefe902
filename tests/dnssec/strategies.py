"""Random cases for Hypothesis: trees of two to four levels, questions that hit what is in them, none to two damages.

Damages are drawn from what a validator would see on the way from the root to the answer, so that most of them matter.
The root's keys, SOA and NS are never damaged, as a resolver keeps them from case to case.
"""

from collections.abc import Sequence

import dns.name
import dns.rdatatype
from dns.rcode import SERVFAIL
from dns.rdatatype import DNAME, DNSKEY, DS, RRSIG
from hypothesis import assume
from hypothesis import strategies as st

from tests.dnssec.authority import answer
from tests.dnssec.cases import Case
from tests.dnssec.damage import MESSAGES, Damage
from tests.dnssec.harm import fitting
from tests.dnssec.zones import Denial, Tree, Zone, built

_SHAPES = (
    ("",),
    ("", "s"),
    ("", "d.e"),
    ("", "s", "u"),
    ("", "s", "t.s"),
    ("", "s", "d.e.s"),
    ("", "s", "t.s", "u"),
    ("", "s", "u", "d.e", "t.s"),
)
_ALGORITHMS = (15, 13, 15, 13, 15, 13, 15, 13, 8, 14, 16, 10, 7, 5)
_DENIALS = (
    *(Denial(),) * 6,
    *(Denial(nsec3=True),) * 4,
    *(Denial(nsec3=True, salt="ab", iterations=1),) * 2,
    Denial(nsec3=True, salt="0123456789abcdef", iterations=12),
    Denial(nsec3=True, iterations=100),
    Denial(nsec3=True, iterations=101),
    Denial(nsec3=True, opt_out=True),
    Denial(nsec3=True, opt_out=True, iterations=1),
)
_SECURITY = ((True, True),) * 16 + ((False, False), (True, False))  # signed, DS in the parent
_DIGESTS = ((2,), (2,), (2,), (4,), (1,), (1, 2), (2, 4))
_OWNERS = ("@", "h", "mx", "_25._tcp.mx", "x.y", "a.b.y", "*", "*.w", "*.w.y", "Z-Caps", "\\000.h")
_DATA = {
    "A": ("192.0.2.1", "192.0.2.2"),
    "AAAA": ("2001:db8::1",),
    "MX": ("10 mx", "20 h", "0 mx.s.{apex}."),
    "TLSA": ("3 1 1 " + "ab" * 32, "2 0 1 " + "cd" * 32),
    "TXT": ('"text"', '"other" "text"'),
}
_ALIASES = ("c", "c2", "*.cw", "c.y")
_RENAMED = ("dn", "dn.y")
_TARGETS = (
    "h",
    "mx",
    "nothing",
    "x.w",
    "y",
    "c2",
    "q.dn",
    "q.cw",
    "h.{apex}.",
    "h.s.{apex}.",
    "mx.u.{apex}.",
    "q.s.{apex}.",
)
_DOMAINS = ("y", "w", "{apex}.", "s.{apex}.", "t.s.{apex}.", "nothing")
# No asterisk below another, which Unbound cannot verify where the answer comes from the one above.
_ASKED = (
    "", "h", "mx", "_25._tcp.mx", "_tcp.mx", "x.y", "y", "b.y", "q", "q.q", "q.w", "q.q.w", "w", "q.w.y", "z-caps",
    "c", "c2", "q.cw", "c.y", "dn", "q.dn", "h.dn", "q.q.dn.y", "q.h", "ns", "s", "u", "d.e", "e", "zz", "*",
)  # fmt: skip
_TYPES = ("MX", "A", "AAAA", "TLSA", "TXT", "CNAME", "DS", "A", "TLSA", "MX", "SOA", "NS", "DNSKEY")


def _lines(owners: Sequence[str], rdtype: str, data: Sequence[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda owner, text: f"{owner} {rdtype} {text}", st.sampled_from(owners), st.sampled_from(data))


def _aliases(owners: Sequence[str], rdtype: str, data: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(_lines(owners, rdtype, data), max_size=2, unique_by=lambda line: line.split()[0])


_PLAIN = st.lists(st.one_of([_lines(_OWNERS, rdtype, data) for rdtype, data in _DATA.items()]), max_size=7)
_RECORDS = st.builds(
    lambda *parts: tuple(sorted({line for part in parts for line in part})),
    _PLAIN,
    _aliases(_ALIASES, "CNAME", _TARGETS),
    _aliases(_RENAMED, "DNAME", _DOMAINS),
)


def zones(name: str) -> st.SearchStrategy[Zone]:
    """Make a zone of a name."""
    return st.builds(
        lambda records, algorithm, security, denial, split, digests: Zone(
            name, records, algorithm, security[0], security[1], denial, split, digests
        ),
        _RECORDS,
        st.sampled_from(_ALGORITHMS),
        st.sampled_from(_SECURITY),
        st.sampled_from(_DENIALS),
        st.booleans(),
        st.sampled_from(_DIGESTS),
    )


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Make a tree below the label "case"."""
    return Tree(tuple(draw(zones(name)) for name in draw(st.sampled_from(_SHAPES))), apex="case")


@st.composite
def cases(draw: st.DrawFn, max_damages: int = 2, without: frozenset[tuple[str, str]] = frozenset()) -> Case:
    """Make a case that is not placed yet, whose question has an answer, which aliases without end have not.

    Damages in `without` are not drawn: what they do and to sets (or questions) of which type, "" for all.
    """
    tree = draw(trees())
    zone = draw(st.sampled_from(tree.zones)).name
    asked = ".".join(filter(None, (draw(st.sampled_from(_ASKED)), zone)))
    case = Case(tree, asked, draw(st.sampled_from(_TYPES)))
    whole = answer(tree, *case.question)
    assume(whole.rcode() != SERVFAIL)
    # Unbound 1.17 finds no chain of trust for an alias asked as such that a DNAME makes.
    assume(case.rdtype != "CNAME" or all(one.rdtype != DNAME for one in whole.answer))
    count = draw(st.integers(0, max_damages))
    if not count:
        return case
    sets, questions = seen(case)
    kinds = st.one_of([_on_sets(sets, without)] * 6 + [_on_messages(questions, without)])
    return Case(tree, asked, case.rdtype, tuple(draw(kinds) for _ in range(count)))


def _on_sets(sets: Sequence[tuple[str, str]], without: frozenset[tuple[str, str]]) -> st.SearchStrategy[Damage]:
    def on(one: tuple[str, str]) -> st.SearchStrategy[Damage]:
        whats = [what for what in fitting(one[0]) if not {(what, one[0]), (what, "")} & without]
        which = st.sampled_from((None, None, 0, 1, 2))
        return st.builds(Damage, st.sampled_from(whats), st.just(one[0]), st.just(one[1]), which)

    return st.sampled_from(sets).flatmap(on)


def _on_messages(
    questions: Sequence[tuple[str, str]], without: frozenset[tuple[str, str]]
) -> st.SearchStrategy[Damage]:
    drawn = [(what, *one) for what in MESSAGES for one in questions if not {(what, one[0]), (what, "")} & without]
    return st.sampled_from(drawn).map(lambda one: Damage(*one))


def seen(case: Case) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Give what a validator sees of an undamaged case: types of sets, and of questions, each with the zone they are of."""
    there = built(case.tree)
    relative = {case.tree.absolute(zone.name): zone.name for zone in case.tree.zones} | {dns.name.root: "."}
    responses = [answer(case.tree, *case.question)]
    origins = {
        there.of(one.name, one.rdtype).origin
        for one in (*responses[0].answer, *responses[0].authority, *responses[0].question)
    }
    for origin in sorted({above for one in origins for above in _line(one, relative)}):
        if origin != dns.name.root:
            responses += [answer(case.tree, origin, DS), answer(case.tree, origin, DNSKEY)]
    sets, questions = set(), set()
    for response in responses:
        question = response.question[0]
        questions.add(
            (dns.rdatatype.to_text(question.rdtype), relative[there.of(question.name, question.rdtype).origin])
        )
        for rrset in (*response.answer, *response.authority):
            if rrset.rdtype == RRSIG:
                sets.add((dns.rdatatype.to_text(rrset.covers), relative[rrset[0].signer]))
            else:
                sets.add((dns.rdatatype.to_text(rrset.rdtype), relative[there.of(rrset.name, rrset.rdtype).origin]))
    kept = {"DS", "NSEC"}  # a resolver shares all else of the root's between cases
    return sorted(one for one in sets if one[1] != "." or one[0] in kept), sorted(questions)


def _line(origin: dns.name.Name, relative: dict[dns.name.Name, str]) -> list[dns.name.Name]:
    return [above for above in relative if origin.is_subdomain(above)]
