"""Which way each recipient goes."""

from typing import Any

import pytest

from stages.contract import Level, Routed
from stages.destination import Route, RouteKind, TlsLevel
from stages.message import Envelope, Message, Origin
from stages.route import STAGE, Action, RouteTable, Rule
from stages.verdict import Done, Proceed, Refuse, Verdict, check_partition
from tests.stages.make import NOW, envelope, message, recipient

MX, HOST, COPY, LOCAL, REFUSE = Action.MX, Action.HOST, Action.COPY, Action.LOCAL, Action.REFUSE


def rule(item: Message, *rules: Rule, **table: Any) -> tuple[Verdict, ...]:
    """Run the stage and check the partition."""
    verdicts = STAGE.decide(item, {RouteTable: RouteTable(rules, **table)}, NOW)
    check_partition(item.recipient_ids, verdicts)
    return verdicts


def routed(item: Message, *rules: Rule, **table: Any) -> Routed:
    """Run the stage for a message all of whose recipients go on."""
    (verdict,) = rule(item, *rules, **table)
    assert isinstance(verdict, Proceed)
    assert isinstance(verdict.gives, Routed)
    assert verdict.gives.message.recipient_ids == verdict.recipients
    return verdict.gives


def way(to: str, *rules: Rule, of: Envelope | None = None, **table: Any) -> Route:
    """Give the route of one recipient."""
    return next(iter(routed(message(to, of=of), *rules, **table).routes.values()))


def test_mail_goes_by_mx_unless_told_otherwise() -> None:
    """SMTP-01: without rules the next hop is the recipient's domain, on the table's port, with DANE."""
    assert way("user@Example.COM") == Route(RouteKind.MX, "example.com", 25, TlsLevel.DANE, "default")
    assert way("user@example.com", port=2525).port == 2525


def test_domains_are_a_labels() -> None:
    """SMTP-18: the route names the A-label form, in which DNS is asked."""
    assert way("leser@bücher.example").name == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("user@[192.0.2.1]", "[192.0.2.1]"),
        ("user@[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"),
        ("user@[ipv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("user@[192.0.2.300]", "[192.0.2.300]"),
    ],
)
def test_a_literal_goes_to_its_address(to: str, name: str) -> None:
    """SMTP-19, DANE-23, RFC 5321 4.1.3: the address itself, without MX; a bad one is kept for `resolve` to refuse."""
    assert way(to) == Route(RouteKind.HOST, name, 25, TlsLevel.DANE, "literal")
    assert way(to, Rule("all", MX, tls=TlsLevel.ENCRYPT, port=26)) == Route(
        RouteKind.HOST, name, 26, TlsLevel.ENCRYPT, "all"
    )


def test_the_first_rule_that_matches_decides() -> None:
    """SMTP-01: rules are ordered, and what stands behind the first match is not looked at."""
    rules = (
        Rule("boss", HOST, ("boss@example.com",), host="one.example"),
        Rule("domain", HOST, ("*@example.com",), host="two.example"),
        Rule("rest", HOST, host="three.example"),
    )
    names = [way(to, *rules).name for to in ("boss@example.com", "x@example.com", "x@other.example")]
    assert names == ["one.example", "two.example", "three.example"]
    assert way("boss@example.com", *reversed(rules)).rule == "rest"


@pytest.mark.parametrize(
    ("senders", "sources", "of", "matches"),
    [
        (("*@here.example",), (), envelope(), True),
        (("*@there.example",), (), envelope(), False),
        (("<>",), (), envelope(None), True),
        (("<>",), (), envelope(), False),
        (("*",), (), envelope(None), False),
        (("<>", "*"), (), envelope(None), True),
        ((), ("192.0.2.0/24",), envelope(), True),
        ((), ("198.51.100.0/24", "192.0.2.10"), envelope(), True),
        ((), ("198.51.100.0/24",), envelope(), False),
        ((), ("smtp",), envelope(), True),
        ((), ("send", "sendmail"), envelope(), False),
        ((), ("0.0.0.0/0",), envelope(origin=Origin("send")), False),
        ((), ("192.0.2.0/24",), envelope(origin=Origin("smtp", "::ffff:192.0.2.7")), True),
        ((), ("2001:db8::/32",), envelope(origin=Origin("smtp", "2001:db8::1")), True),
        ((), ("2001:db8::/32",), envelope(), False),
        (("*@here.example",), ("198.51.100.0/24",), envelope(), False),
    ],
)
def test_rules_look_at_senders_and_sources(
    senders: tuple[str, ...],
    sources: tuple[str, ...],
    of: Envelope,
    matches: bool,  # noqa: FBT001
) -> None:
    """DANE-106: a rule matches where each of its given lists has something that fits; `<>` is the null sender."""
    found = way("user@example.com", Rule("relay", HOST, (), senders, sources, "relay.example"), of=of)
    assert (found.name == "relay.example") is matches


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Rule("r", HOST, host="Relay.Example."), Route(RouteKind.HOST, "relay.example", 25, TlsLevel.DANE, "r")),
        (
            Rule("r", HOST, host="relay.example", port=2525),
            Route(RouteKind.HOST, "relay.example", 2525, TlsLevel.DANE, "r"),
        ),
        (
            Rule("r", HOST, host="relay.example", port=587),
            Route(RouteKind.HOST, "relay.example", 587, TlsLevel.ENCRYPT, "r"),
        ),
        (
            Rule("r", HOST, host="relay.example", port=587, tls=TlsLevel.DANE),
            Route(RouteKind.HOST, "relay.example", 587, TlsLevel.DANE, "r"),
        ),
        (
            Rule("r", HOST, host="relay.example", tls=TlsLevel.VERIFY),
            Route(RouteKind.HOST, "relay.example", 25, TlsLevel.VERIFY, "r"),
        ),
        (Rule("r", HOST, host="192.0.2.9"), Route(RouteKind.HOST, "[192.0.2.9]", 25, TlsLevel.DANE, "r")),
        (Rule("r", HOST, host="[::1]", port=26), Route(RouteKind.HOST, "[IPv6:::1]", 26, TlsLevel.DANE, "r")),
        (Rule("r", MX, host="hub.example"), Route(RouteKind.MX, "hub.example", 25, TlsLevel.DANE, "r")),
        (Rule("r", MX, tls=TlsLevel.MAY), Route(RouteKind.MX, "example.com", 25, TlsLevel.MAY, "r")),
        (
            Rule("r", LOCAL, host="store.example", port=24),
            Route(RouteKind.LOCAL, "store.example", 24, TlsLevel.MAY, "r"),
        ),
    ],
)
def test_what_a_rule_makes_of_a_recipient(made: Rule, expected: Route) -> None:
    """DANE-44, DANE-106: the host's own name and real port; DANE on submission ports only where the rule asks for it."""
    assert way("user@example.com", made) == expected


def test_a_refusal_says_which_rule() -> None:
    """SMTP-53: a `refuse` rule fails the recipient for good, in the operator's words if there are any."""
    (plain,) = rule(message("user@example.com"), Rule("no-example", REFUSE, ("example.com",)))
    assert isinstance(plain, Refuse)
    assert plain.reason.status == "5.7.1"
    assert "no-example" in plain.reason.text
    (worded,) = rule(message("user@example.com"), Rule("no", REFUSE, text="We do not write to example.com."))
    assert isinstance(worded, Refuse)
    assert worded.reason.text == "We do not write to example.com."


def test_local_domains_go_home_without_dane() -> None:
    """D15: local domains go to the local host; DANE is not applied to them."""
    made = way(
        "user@Ours.example", local_domains=frozenset({"ours.example"}), local_host="store.ours.example", local_port=24
    )
    assert made == Route(RouteKind.LOCAL, "store.ours.example", 24, TlsLevel.MAY, "local")
    assert way("user@sub.ours.example", local_domains=frozenset({"ours.example"})).kind is RouteKind.MX


def test_a_rule_may_route_a_local_domain() -> None:
    """D15: a rule outweighs the local route."""
    made = way(
        "user@ours.example", Rule("r", HOST, host="elsewhere.example"), local_domains=frozenset({"ours.example"})
    )
    assert made.name == "elsewhere.example"


def test_a_local_domain_without_a_host_is_refused_in_words() -> None:
    """D15: mail for ourselves is never sent to the Internet for want of a setting."""
    for rules in ((), (Rule("r", LOCAL),)):
        (verdict,) = rule(message("user@ours.example"), *rules, local_domains=frozenset({"ours.example"}))
        assert isinstance(verdict, Refuse)
        assert verdict.reason.status == "5.3.5"
        assert verdict.reason.text == "there is no route for the local domain ours.example"


ARCHIVE = Rule("archive", COPY, ("*@example.com",), host="archive.example", port=2525)


def test_a_copy_leaves_the_first_way_alone() -> None:
    """`copy` adds a leg of its own and the rules behind it still decide."""
    made = routed(message("user@example.com", "x@other.example"), ARCHIVE, Rule("all", HOST, host="relay.example"))
    assert [route.name for route in made.routes.values()] == ["relay.example", "relay.example"]
    (leg,) = made.copies
    assert (leg.rule, leg.of) == ("archive", made.message.recipients[0].id)
    assert leg.route == Route(RouteKind.HOST, "archive.example", 2525, TlsLevel.DANE, "archive")


def test_every_copy_rule_before_the_decision_adds_a_leg() -> None:
    """Two copy rules make two legs; one behind the deciding rule makes none."""
    second = Rule("second", COPY, host="second.example")
    made = routed(
        message("user@example.com"), ARCHIVE, second, Rule("all", MX), Rule("late", COPY, host="late.example")
    )
    assert [leg.rule for leg in made.copies] == ["archive", "second"]


def test_no_copy_of_what_is_refused() -> None:
    """A refused recipient is not copied either."""
    verdicts = rule(message("user@example.com"), ARCHIVE, Rule("no", REFUSE))
    assert [type(verdict) for verdict in verdicts] == [Refuse]


@pytest.mark.parametrize("changes", [{"attempts": 1}, {"copied": True}])
def test_copies_are_made_once(changes: dict[str, Any]) -> None:
    """DSN-21: a recipient that comes back for a retry, or from an operator's hand, is not copied again."""
    assert routed(message(recipient(**changes)), ARCHIVE).copies == ()


def test_a_copy_goes_by_its_own_rule() -> None:
    """A copy is never copied or routed by other rules, also when it is tried again."""
    leg = recipient("user@example.com", copy_rule="archive", attempts=3)
    made = routed(message(leg), Rule("all", HOST, host="relay.example"), ARCHIVE)
    assert made.routes[leg.id].name == "archive.example"
    assert made.copies == ()


@pytest.mark.parametrize("rules", [(), (Rule("archive", MX),)], ids=["rule gone", "no copy rule any more"])
def test_a_copy_without_its_rule_is_dropped(rules: tuple[Rule, ...]) -> None:
    """Nobody wants the copy any more: it ends without a report, and never goes the main way a second time."""
    (verdict,) = rule(message(recipient("user@example.com", copy_rule="archive")), *rules)
    assert isinstance(verdict, Done)
    assert verdict.reason.code == "route.copy_rule_gone"


def test_recipients_of_one_message_part_ways() -> None:
    """SMTP-53: each recipient has a verdict of its own, and the ways are named in the log."""
    item = message("a@example.com", "b@refused.example", "c@[192.0.2.1]", "d@ours.example")
    verdicts = rule(item, Rule("no", REFUSE, ("refused.example",)), local_domains=frozenset({"ours.example"}))
    assert [(type(v), len(v.recipients)) for v in verdicts] == [(Proceed, 2), (Refuse, 1), (Refuse, 1)]
    reason = verdicts[0].reason
    assert reason is not None
    assert set(reason.facts["routes"].values()) == {
        "mx:example.com:25:dane (default)",
        "host:[192.0.2.1]:25:dane (literal)",
    }


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"action": HOST}, "needs a host"),
        ({"action": COPY}, "needs a host"),
        ({"action": LOCAL, "host": "h.example", "tls": TlsLevel.DANE}, "know no DANE"),
        ({"action": MX, "port": 0}, "port"),
        ({"action": MX, "port": 70000}, "port"),
        ({"action": MX, "recipients": ("*@*example.com",)}, "whole labels"),
        ({"action": MX, "senders": ("@x",)}, "nothing before"),
        ({"action": MX, "sources": ("192.0.2.0/40",)}, "no network"),
        ({"action": MX, "name": ""}, "needs a name"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(settings: dict[str, Any], hint: str) -> None:
    """DANE-106: a wrong rule is said at start, with the rule's name."""
    with pytest.raises(ValueError, match=hint):
        Rule(**({"name": "r"} | settings))


def test_two_rules_of_one_name_are_refused() -> None:
    """A copy finds its rule by name."""
    with pytest.raises(ValueError, match="two routing rules are named 'r'"):
        RouteTable((Rule("r", MX), Rule("r", REFUSE)))


def test_the_stage_is_the_first() -> None:
    """The stage takes messages and gives routed ones."""
    assert (STAGE.name, STAGE.level, STAGE.takes, STAGE.gives) == ("route", Level.MESSAGE, Message, Routed)
