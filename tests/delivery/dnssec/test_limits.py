"""Bounds on the work of one question, each with its name in the text."""

from collections.abc import Callable

import pytest

from delivery.dnssec.limits import Budget, BudgetExceeded, Rules

RULES = Rules(checks=3, nsec3_hashes=6, queries=2, records=10)


@pytest.mark.parametrize(
    ("spend", "times", "text"),
    [
        (Budget.check, 3, "more than 3 signature checks for one question"),
        (lambda budget: budget.query(3), 2, "more than 2 weighted queries for one question"),
        (lambda budget: budget.query(8), 1, "more than 2 weighted queries for one question"),
        (lambda budget: budget.read(5), 2, "more than 10 records read for one question"),
        (lambda budget: budget.hash(0), 6, "more than 6 weighted NSEC3 hashes for one question"),
        (lambda budget: budget.hash(100), 2, "more than 6 weighted NSEC3 hashes for one question"),
    ],
    ids=[
        "checks",
        "queries",
        "queries that count two each",
        "records",
        "hashes without iterations",
        "hashes that count three each",
    ],
)
def test_work_is_done_up_to_its_bound_and_no_further(spend: Callable[[Budget], None], times: int, text: str) -> None:
    """SEC-59, SEC-60, SEC-61, SEC-63: what is allowed is allowed, and one more names the limit."""
    budget = Budget(RULES)
    for _ in range(times):
        spend(budget)
    with pytest.raises(BudgetExceeded) as raised:
        spend(budget)
    assert str(raised.value) == text


def test_the_bounds_are_those_that_are_documented() -> None:
    """SEC-27, SEC-60, SEC-61: five minutes, 8 checks for a set, 64 for a question, 4 keys with one tag, 128 hashes, 300 records."""
    rules = Rules()
    bounds = (rules.checks_per_set, rules.checks, rules.same_tag_keys, rules.failed_digests, rules.nsec3_hashes)
    assert bounds == (8, 64, 4, 4, 128)
    assert rules.records == 300
    assert rules.skew.total_seconds() == 300


@pytest.mark.parametrize("kind", ["algorithms", "digests"])
def test_what_cannot_be_computed_cannot_be_required(kind: str) -> None:
    """SEC-08: an algorithm or digest that nothing here knows (12, GOST) is refused, else its zones would be broken."""
    with pytest.raises(ValueError, match="12 cannot be computed here; known: "):
        Rules(**{kind: frozenset({12})})  # type: ignore[arg-type]
