"""The decision table: the manual, the standard and the settings, each held against what the stages do."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from stages.policy import (
    BogusProof,
    DanePolicy,
    InsecureAlias,
    InsecureMx,
    Mode,
    MxCname,
    OnFailure,
    OnNoTls,
    OnUnusable,
    Profile,
    Scope,
    dane_policy,
)
from tests.stages.decision_table import MANUAL, Column, generated, mode_columns, next_columns, written
from tests.stages.decision_world import ROWS

RFC, EXCHANGE, MAILMARSHAL = Profile.RFC7672, Profile.EXCHANGE, Profile.MAILMARSHAL
BY_NUMBER = {row.number: row for row in ROWS}


def cell(number: str, profile: Profile, mode: Mode = Mode.ENFORCE, *, second: bool = False) -> str:
    """Give one cell."""
    return Column(profile, dane_policy(profile, {"mode": mode}), second).cell(BY_NUMBER[number])


def test_the_manual_shows_what_the_stages_do() -> None:
    """DANE-102, section 13: one table that the golden file and the manual share; `--write` makes it again."""
    assert written() == generated(), f"make {MANUAL.name} again: python -m tests.stages.decision_table --write"


def test_all_thirty_rows_are_there() -> None:
    """Section 11.2: every row of the table stands in the world of this test."""
    assert {int(row.number.split()[0]) for row in ROWS if row.number[0].isdigit()} == set(range(1, 31))


# What RFC 7672 wants, by hand from the standard: opportunistic DANE alone and with a good second host, mandatory DANE.
OPP, V, E, D, N = "TLS if it works", "DANE", "TLS", "defer", "next: DANE"
STANDARD = {
    "1": (D, "-", D), "1 unproven": (D, "-", D), "2": (D, "-", D), "3": (D, "-", D),
    "4 NXDOMAIN": ("refuse 5.1.2", "-", "refuse 5.1.2"), "4 null MX": ("refuse 5.1.10", "-", "refuse 5.1.10"),
    "5": (OPP, OPP, D), "6": ("DANE, host only", "DANE, host only", D), "7": (D, "next: DANE, host only", D),
    "8 address bogus": (D, "next: DANE, host only", D), "8 address error": (D, "next: DANE, host only", D),
    "8 TLSA bogus": (D, "next: DANE, host only", D), "8 TLSA error": (D, "next: DANE, host only", D),
    "9": (OPP, OPP, D), "10": (D, N, D), "11": (D, N, D), "12": ("refuse 5.4.4", N, "refuse 5.4.4"),
    "13": (OPP, OPP, D), "14 match": (V, V, V), "14 mismatch": (D, N, D), "15": (OPP, OPP, D), "16": (D, N, D),
    "17": (D, N, D), "18": (OPP, OPP, D), "19": (OPP, OPP, D), "20": (OPP, OPP, D), "21": (E, E, D),
    "22 no STARTTLS": (D, N, D), "22 handshake": (D, N, D), "23": (V, V, V), "24": (D, N, D), "25": (D, N, D),
    "26": (D, N, D), "27 match": (V, V, V), "27 mismatch": (D, N, D), "28 bogus": (D, N, D), "28 error": (D, N, D),
    "29": (OPP, "-", D), "30": ("give up 4.7.5", N, "give up 4.7.5"), "30 lookup": ("give up 4.4.3", "-", "give up 4.4.3"),
}  # fmt: skip


@pytest.mark.parametrize("number", STANDARD)
def test_profile_rfc7672_does_what_the_standard_says(number: str) -> None:
    """DANE-22, DANE-99, DANE-102, DANE-109, section 11.2: columns "RFC 7672 opportunistic" and "mandatory"."""
    alone, with_second, mandatory = STANDARD[number]
    assert cell(number, RFC).startswith(alone)
    assert cell(number, RFC, second=True) == with_second
    assert cell(number, RFC, Mode.MANDATORY).startswith(mandatory)
    if alone == OPP:
        assert cell(number, RFC) == OPP


# The four rules of MailMarshal 10.1 as stated (M1 to M4); what they leave open stays what it is.
STATED = {
    "1": "refuse 5.7.5", "5": OPP, "6": OPP, "7": OPP, "8 address bogus": "refuse 5.7.5", "9": OPP, "10": "refuse 5.7.5", "13": OPP,
    "14 match": OPP, "14 mismatch": OPP, "15": OPP, "16": "refuse 5.7.5", "18": OPP, "20": OPP, "23": V, "24": "refuse 5.7.5",
    "28 bogus": "refuse 5.7.5",
}  # fmt: skip


@pytest.mark.parametrize("number", STATED)
def test_profile_mailmarshal_does_what_mailmarshal_states(number: str) -> None:
    """Section 11.2, column "MailMarshal 10.1": secure and matching delivers, bogus and mismatch are reported at once."""
    assert cell(number, MAILMARSHAL) == STATED[number]


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    "number", ["1 unproven", "2", "3", "8 address error", "10 unproven", "11", "17", "16 unproven", "28 error"]
)
def test_a_lookup_error_never_bounces(number: str, mode: Mode, profile: Profile) -> None:
    """DANE-102, D6, RFC 7672 2.1.2: without proof of bogus nothing is refused, in no profile and no mode."""
    assert not cell(number, profile, mode).startswith("refuse")


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("number", ["1", "2", "3", "10", "11"])
def test_audit_still_waits_where_there_is_no_server(number: str, profile: Profile) -> None:
    """DANE-100, section 11.2, audit mode: rows 1-3 and 10-11 defer, because there is no destination."""
    assert cell(number, profile, Mode.AUDIT).startswith("defer")


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize(
    "number", ["16", "17", "22 no STARTTLS", "22 handshake", "24", "25", "26", "27 mismatch", "28 bogus", "28 error"]
)
def test_audit_logs_and_goes_on(number: str, profile: Profile) -> None:
    """DANE-100, RFC 7672 9.1: audit delivers what enforcing would not, and the failure is on record."""
    assert cell(number, profile, Mode.AUDIT).endswith("(audit)")


@pytest.mark.parametrize("row", ROWS, ids=[row.number for row in ROWS])
def test_off_is_the_same_in_every_profile(row: Any) -> None:
    """DANE-101: with DANE off no profile matters, nothing is verified, and nothing is refused for DANE."""
    cells = {column.cell(row) for column in mode_columns(Mode.OFF)}
    assert len(cells) == 1
    assert not cells & {"DANE", "DANE, host only", "refuse 5.7.5", "refuse 5.7.10"}


@pytest.mark.parametrize("profile", list(Profile))
def test_the_excluded_are_never_told_that_dane_failed(profile: Profile) -> None:
    """DANE-101, D15: for an excluded recipient a mismatch does not count, and bogus DNS delays."""
    assert cell("excluded, mismatch", profile) == OPP
    assert cell("excluded, bogus", profile) == "defer 4.7.5"


def test_no_protected_mail_in_the_clear() -> None:
    """DANE-102: no enforcing profile delivers in any row with a usable record that was not matched."""
    rows = ["24", "24 for a day", "25", "26", "27 mismatch", "16", "17", "28 bogus", "28 error", "host route, mismatch"]
    for profile in Profile:
        for mode in (Mode.ENFORCE, Mode.MANDATORY):
            for number in rows:
                assert cell(number, profile, mode).split()[0] in {"defer", "refuse"}


BOGUS_ROWS = {"1", "1 validated", "8 address bogus", "10", "16", "28 bogus"}
MATCH_ROWS = {"24", "24 for a day", "27 mismatch", "30", "host route, mismatch"}
USABLE = {"23", "27 match", "host route, match"} | MATCH_ROWS
BEHIND = {
    "10", "10 unproven", "11", "12", "16", "16 unproven", "17", "22 no STARTTLS", "22 handshake", "23", "24",
    "24 for a day", "25", "25 five times", "26", "26 five times", "27 match", "27 mismatch", "28 bogus", "28 error", "30",
}  # fmt: skip
INSECURE = {"6", "7", "8 TLSA bogus", "8 TLSA error"}
ALIASES = {"14 match", "14 mismatch", "15", "27 match", "27 mismatch", "28 bogus", "28 error"}
# profile, setting, its other value, rows that change with one host, rows that change with a good second one
FLIPS: list[tuple[Profile, str, Any, set[str], set[str]]] = [
    (MAILMARSHAL, "on_mismatch", OnFailure.DEFER, MATCH_ROWS, set()),
    (RFC, "on_mismatch", OnFailure.BOUNCE, MATCH_ROWS | {"7", "14 mismatch"}, set()),
    (MAILMARSHAL, "on_bogus_mx", OnFailure.DEFER, {"1", "1 validated"}, set()),
    (MAILMARSHAL, "on_bogus_address", OnFailure.DEFER, {"8 address bogus", "10"}, set()),
    (MAILMARSHAL, "on_bogus_tlsa", OnFailure.DEFER, {"16", "28 bogus"}, set()),
    (RFC, "on_bogus_tlsa", OnFailure.BOUNCE, {"8 TLSA bogus", "16", "28 bogus"}, set()),
    (MAILMARSHAL, "on_no_tls", OnNoTls.DEFER, {"25 five times", "26 five times"}, set()),
    (MAILMARSHAL, "on_no_tls", OnNoTls.BOUNCE, {"22 no STARTTLS", "22 handshake", "25", "26"}, set()),
    (MAILMARSHAL, "no_tls_attempts", 1, {"22 no STARTTLS", "22 handshake", "25", "26"}, set()),
    (MAILMARSHAL, "on_unusable", OnUnusable.SKIP_HOST, {"21", "22 no STARTTLS"}, {"21"}),
    (MAILMARSHAL, "on_unusable", OnUnusable.BOUNCE, {"21", "22 no STARTTLS", "22 handshake"}, {"21"}),
    (
        MAILMARSHAL, "failure_scope", Scope.DESTINATION, set(),
        {"8 address bogus", "10", "16", "24", "24 for a day", "27 mismatch", "28 bogus", "30"},
    ),
    (MAILMARSHAL, "bogus_proof", BogusProof.VALIDATOR, BOGUS_ROWS - {"1 validated"}, set()),
    (MAILMARSHAL, "bogus_proof", BogusProof.TRUSTED_EDE, {"1 EDE alone"}, set()),
    (MAILMARSHAL, "bogus_min_attempts", 3, BOGUS_ROWS, set()),
    (MAILMARSHAL, "bogus_min_age", timedelta(minutes=30), BOGUS_ROWS, set()),
    (MAILMARSHAL, "insecure_mx_policy", InsecureMx.DANE, INSECURE, INSECURE | {"8 address bogus", "8 address error"}),
    (
        MAILMARSHAL, "insecure_alias_policy", InsecureAlias.INITIAL_NAME, {"14 match", "14 mismatch"},
        {"14 match", "14 mismatch"},
    ),
    (MAILMARSHAL, "mx_cname", MxCname.REFUSE, ALIASES, {"14 match", "14 mismatch", "15", "27 match"}),
    (MAILMARSHAL, "usages", (2,), USABLE, BEHIND),
    (MAILMARSHAL, "digests", (2,), USABLE, BEHIND),
    (MAILMARSHAL, "wildcard_multilabel", True, set(), set()),
    (EXCHANGE, "retry", None, set(), set()),
    (EXCHANGE, "bounce_after", None, {"24 for a day", "30"}, set()),
    (RFC, "bounce_after", timedelta(hours=12), {"24 for a day", "30"}, set()),
    (RFC, "notify_delay_after", None, set(), set()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "setting", "value", "alone", "behind"),
    FLIPS,
    ids=[f"{p} {name}={value}" for p, name, value, _, _ in FLIPS],
)
def test_a_setting_changes_only_its_own_rows(
    profile: Profile,
    setting: str,
    value: object,
    alone: set[str],
    behind: set[str],
) -> None:
    """Section 13: flipping one option changes only its rows."""
    for second, expected in ((False, alone), (True, behind)):
        before = Column("before", dane_policy(profile), second)
        after = Column("after", replace(before.dane, **{setting: value}), second)  # type: ignore[arg-type]
        assert {row.number for row in ROWS if before.cell(row) != after.cell(row)} == expected


def test_every_setting_is_flipped() -> None:
    """Section 13: no setting of the policy escapes the test above."""
    assert {name for _, name, _, _, _ in FLIPS} == {field.name for field in fields(DanePolicy)} - {"mode", "profile"}


@pytest.mark.parametrize("profile", list(Profile))
def test_an_extended_error_alone_bounces_nothing(profile: Profile) -> None:
    """SEC-80 (RFC 8914 6): anybody on the way can write one; as shipped, bogus needs another proof as well."""
    assert cell("1 EDE alone", profile, Mode.ENFORCE).split()[0] == "defer"


def test_a_second_host_is_tried_before_anything_bounces() -> None:
    """D5, `failure_scope = host`: a bounce needs every host to have been refused on DANE grounds."""
    *profiles, destination = next_columns()
    assert [column.cell(BY_NUMBER["24"]) for column in profiles] == [N, N, N]
    assert destination.cell(BY_NUMBER["24"]) == "refuse 5.7.5"
