"""Which recipients are excluded from DANE, by which pattern, until when."""

from datetime import datetime, timedelta

import pytest

from stages.contract import Consigned, Facts, Level, Routed
from stages.destination import Destination, Route, RouteKind, TlsLevel
from stages.exclude import STAGE, Exclusion, Exclusions, check_pattern
from stages.message import Message, RecipientId
from stages.verdict import Proceed, check_partition
from tests.stages.make import DAY, NOW, address, message, recipient


def excluded(pattern: str, mailbox: str) -> bool:
    """Tell whether one pattern excludes one mailbox."""
    return Exclusions([Exclusion(pattern)]).match(address(mailbox), NOW) is not None


@pytest.mark.parametrize(
    ("pattern", "mailbox"),
    [
        ("user@example.com", "user@example.com"),
        ("user@example.com", "USER@Example.COM"),
        ("User@EXAMPLE.com", "user@example.com"),
        ("*@example.com", "anyone@example.com"),
        ("example.com", "anyone@example.com"),
        ("EXAMPLE.COM.", "anyone@example.com"),
        ("*@*.example.com", "user@mail.example.com"),
        ("*@*.example.com", "user@deep.down.example.com"),
        ("*.example.com", "user@mail.example.com"),
        ("info@*.example.com", "info@mail.example.com"),
        ("info@*", "info@anything.example"),
        ("*@*", "x@y.example"),
        ("*", "x@y.example"),
        ("sales-*@example.com", "Sales-EU@example.com"),
        ("*-list-*@example.com", "a-list-b@example.com"),
        ('"odd name"@example.com', '"odd name"@example.com'),
        ("*@xn--bcher-kva.example", "leser@bücher.example"),
        ("*@[192.0.2.1]", "user@[192.0.2.1]"),
        ("jürgen@example.com", "JÜRGEN@example.com"),
    ],
)
def test_patterns_that_fit(pattern: str, mailbox: str) -> None:
    """DANE-101, D15, RFC 7672 9.1: domains, mailboxes and names below a domain can opt out, in whatever case."""
    assert excluded(pattern, mailbox)


@pytest.mark.parametrize(
    ("pattern", "mailbox"),
    [
        ("*@example.com", "user@mail.example.com"),
        ("*@example.com", "user@notexample.com"),
        ("*@example.com", "user@example.com.evil.example"),
        ("*@*.example.com", "user@example.com"),
        ("*@*.example.com", "user@notexample.com"),
        ("user@example.com", "other@example.com"),
        ("user@example.com", "user@mail.example.com"),
        ("sales-*@example.com", "sales@example.com"),
        ("a*a@example.com", "a@example.com"),
        ("a*b*c@example.com", "axc@example.com"),
        ("info@*", "sales@example.com"),
        ("*@2.1", "user@[192.0.2.1]"),
        ("*@[192.0.2.2]", "user@[192.0.2.1]"),
    ],
)
def test_patterns_that_do_not_fit(pattern: str, mailbox: str) -> None:
    """DANE-102: whoever is not named stays protected; a suffix of the text is no subdomain."""
    assert not excluded(pattern, mailbox)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("", "user@example.com"),
        ("   ", "user@example.com"),
        ("@example.com", r"\*@example.com"),
        ("*@*example.com", r"\*@\*.example.com"),
        ("*@mail.*.example.com", r"\*@\*.example.com"),
        ("*@.example.com", r"\*@\*.example.com"),
        ("*@exa mple.com", "no domain name"),
        ("*@-example.com", "no domain name"),
        ("*@bücher.example", "A-labels"),
        ("*@[192.0.2.300]", r"\[192.0.2.1\]"),
        ("user\n@example.com", "control"),
        ("*@" + "a" * 64 + ".example", "no domain name"),
        ("user@", "no domain name"),
    ],
)
def test_a_wrong_pattern_is_answered_with_a_right_one(pattern: str, hint: str) -> None:
    """D15: a pattern that would silently match nothing, or too much, is refused with what would be right."""
    with pytest.raises(ValueError, match=hint):
        check_pattern(pattern)
    with pytest.raises(ValueError, match=hint):
        Exclusion(pattern)


def test_patterns_have_one_normal_form() -> None:
    """D15: however it was typed, a pattern is one entry of the list."""
    forms = ["example.com", "*@Example.com", " *@EXAMPLE.COM. "]
    assert {check_pattern(form) for form in forms} == {"*@example.com"}
    assert Exclusion("*.Example.com").pattern == "*@*.example.com"


def test_an_entry_ends_when_it_expires() -> None:
    """D15: expiry is honoured to the second, and an expired entry gives way to a live one behind it."""
    short = Exclusion("user@example.com", expires=NOW + DAY)
    wide = Exclusion("*@example.com")
    both = Exclusions([short, wide])
    second = timedelta(seconds=1)
    assert both.match(address("user@example.com"), NOW + DAY - second) is short
    assert both.match(address("user@example.com"), NOW + DAY) is wide
    assert Exclusions([short]).match(address("user@example.com"), NOW + DAY) is None


def test_times_need_a_zone() -> None:
    """D15: a time without a zone would end at another moment on another machine."""
    with pytest.raises(ValueError, match="no time zone"):
        Exclusion("example.com", expires=datetime(2026, 1, 1))  # noqa: DTZ001 - the fault under test


def test_the_most_specific_entry_is_named() -> None:
    """D15: a named domain before those below one before any, longer names first, then the mailbox, then the order."""
    order = ["user@mail.example.com", "u*@mail.example.com", "*@mail.example.com", "user@*.example.com",
             "*@*.example.com", "*@*.com", "user@*", "*@*"]  # fmt: skip
    for first in range(len(order)):
        listed = Exclusions([Exclusion(pattern) for pattern in reversed(order[first:])])
        found = listed.match(address("user@mail.example.com"), NOW)
        assert found is not None
        assert found.pattern == order[first]
    one, two = Exclusion("example.com", owner="first"), Exclusion("example.com", owner="second")
    assert Exclusions([one, two]).match(address("a@example.com"), NOW) is one


def routed(what: Message, **routes: Route) -> Routed:
    """Route every recipient by MX unless told otherwise (`r1=Route(...)` for the first)."""
    default = {one.id: Route(RouteKind.MX, one.address.domain, 25) for one in what.recipients}
    return Routed(what, default | {what.recipients[int(name[1:]) - 1].id: route for name, route in routes.items()})


def rule(item: Routed, *patterns: str) -> list[Proceed]:
    """Run the stage and check the partition."""
    facts: Facts = {Exclusions: Exclusions([Exclusion(pattern, "why", "owner") for pattern in patterns])}
    verdicts = STAGE.decide(item, facts, NOW)
    check_partition(item.message.recipient_ids, verdicts)
    assert all(isinstance(verdict, Proceed) for verdict in verdicts)
    return [verdict for verdict in verdicts if isinstance(verdict, Proceed)]


def test_the_excluded_go_apart() -> None:
    """DANE-98, DANE-101: exclusion makes another destination, so that nobody else's mail travels with less security."""
    what = message("one@example.com", "two@example.com", "three@other.example")
    verdicts = rule(routed(what), "one@example.com")
    destinations: dict[RecipientId, Destination] = {}
    for verdict in verdicts:
        assert isinstance(verdict.gives, Consigned)
        assert verdict.gives.message.recipient_ids == verdict.recipients
        destinations |= verdict.gives.destinations
    assert [destinations[one].key for one in what.recipient_ids] == [
        "mx:example.com:25:dane+excluded",
        "mx:example.com:25:dane",
        "mx:other.example:25:dane",
    ]


def test_the_verdict_names_the_pattern_that_matched() -> None:
    """DANE-105: the log tells by which pattern, whose, why and for whom; and says when there was none."""
    verdicts = rule(
        routed(message("one@example.com", "two@example.com", "x@other.example")), "one@example.com", "*@example.com"
    )
    reasons = {verdict.reason.code: verdict.reason for verdict in verdicts if verdict.reason}
    matched = reasons["exclude.matched"]
    assert "one@example.com" in matched.text
    assert "*@example.com" in matched.text
    assert matched.facts["destination"] == "mx:example.com:25:dane+excluded"
    rows = {row["pattern"]: row for row in matched.facts["exclusions"]}
    assert rows["one@example.com"]["recipients"] == ["one@example.com"]
    assert rows["*@example.com"]["recipients"] == ["two@example.com"]
    assert rows["*@example.com"]["owner"] == "owner"
    assert reasons["exclude.none"].facts["destination"] == "mx:other.example:25:dane"


def test_one_destination_stays_one_group() -> None:
    """DSN-20: recipients of one destination go on together, whichever patterns matched, and so in one transaction."""
    verdicts = rule(routed(message("one@example.com", "two@example.com")), "one@example.com", "two@example.com")
    assert len(verdicts) == 1


def test_only_outgoing_mail_is_excluded() -> None:
    """D15: local routes know no DANE, and a route with a TLS level of its own keeps it."""
    what = message("a@ours.example", "b@relay.example", "c@relay.example")
    local = Route(RouteKind.LOCAL, "store.ours.example", 24, TlsLevel.MAY)
    static = Route(RouteKind.HOST, "relay.example", 25, TlsLevel.VERIFY)
    dane = Route(RouteKind.HOST, "relay.example", 25, TlsLevel.DANE)
    verdicts = rule(routed(what, r1=local, r2=static, r3=dane), "*@*")
    keys = [
        destination.key
        for verdict in verdicts
        if isinstance(verdict.gives, Consigned)
        for destination in verdict.gives.destinations.values()
    ]
    assert keys == [
        "local:store.ours.example:24:may",
        "host:relay.example:25:verify",
        "host:relay.example:25:dane+excluded",
    ]


def test_a_copy_is_judged_by_its_recipient() -> None:
    """DANE-101: a copy leg is a recipient like others: the pattern is held against its address, not against its host."""
    leg = recipient("user@example.com", copy_rule="archive")
    item = routed(message(leg), r1=Route(RouteKind.HOST, "archive.example", 25, rule="archive"))
    (verdict,) = rule(item, "*@archive.example")
    assert isinstance(verdict.gives, Consigned)
    assert verdict.gives.destinations[leg.id] == Destination(RouteKind.HOST, "archive.example", 25)


def test_the_stage_is_of_the_message_level() -> None:
    """The stage takes what `route` gives and gives what ready queues are filled from."""
    assert (STAGE.name, STAGE.level, STAGE.takes, STAGE.gives) == ("exclude", Level.MESSAGE, Routed, Consigned)


def test_a_hostile_pattern_costs_no_time() -> None:
    """DANE-101: stars in a pattern never make matching hang."""
    assert not excluded("*a" * 50 + "@example.com", "a" * 49 + "b" * 5000 + "@example.com")
