"""Section `[dnssec]`: what danepipe's own validation supports and how much one question may cost, as `Rules`.

The bounds of each key leave no room for what would make signed zones insecure unnoticed or let a hostile zone take the
processor: what cannot be computed is refused, and so is a bound that an ordinary roll-over or denial would reach.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from delivery.dnssec.limits import ALGORITHMS, DEFAULT, DIGESTS, Rules
from pipeline.settings import Section
from pipeline.values import Duration, Numbers, format_duration

_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def _within(low: timedelta, high: timedelta) -> AfterValidator:
    """Make the check of a duration between two others, both included."""

    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            span = f"from {format_duration(low)} to {format_duration(high)}"
            raise ValueError(f"{format_duration(value)} is out of bounds, expected a duration {span}")
        return value

    return AfterValidator(check)


class Dnssec(Section):
    """`[dnssec]`: what our own validation supports, and how much one question may cost it."""

    algorithms: Numbers = Field(
        tuple(sorted(ALGORITHMS)),
        description="signature algorithms that count. Warning: each one left out makes the zones that have no other "
        "insecure: their mail goes out without DANE (13 and 8 are those of most zones, and 8 is that of the root)",
    )
    digests: Numbers = Field(
        tuple(sorted(DIGESTS)),
        description="digests of DS records that count. Warning: each one left out makes the zones that have no other "
        "insecure: their mail goes out without DANE (2 is that of nearly all)",
    )
    rrsig_skew: Annotated[Duration, _within(timedelta(0), timedelta(hours=1))] = Field(
        DEFAULT.skew,
        description="how far our clock and a signer's may differ (0s to 1h): "
        "signatures count for so long after their end",
    )
    nsec3_max_iterations: Annotated[int, Field(ge=0, le=150)] = Field(
        DEFAULT.nsec3_iterations, description="iterations of NSEC3 up to which a denial is looked at (RFC 9276)"
    )
    nsec3_over_limit: Literal["insecure", "error"] = Field(
        DEFAULT.nsec3_over_limit,
        description="what a denial with more iterations is: insecure (mail goes out without DANE), "
        "or an error (mail waits)",
    )
    max_rrsig_checks_per_rrset: Annotated[int, Field(ge=2, le=32)] = Field(
        DEFAULT.checks_per_set, description="signatures checked for one record set"
    )
    max_rrsig_checks_per_resolution: Annotated[int, Field(ge=16, le=1024)] = Field(
        DEFAULT.checks, description="signatures checked for one question, with all that its proof needs"
    )
    max_same_tag_keys: Annotated[int, Field(ge=2, le=16)] = Field(
        DEFAULT.same_tag_keys, description="keys of one tag and algorithm tried for one signature"
    )
    max_wrong_digests: Annotated[int, Field(ge=1, le=16)] = Field(
        DEFAULT.failed_digests, description="DS records of one zone that may have the tag of a key and not its digest"
    )
    max_nsec3_hashes: Annotated[int, Field(ge=32, le=2048)] = Field(
        DEFAULT.nsec3_hashes, description="hashes for one question; each counts 1, and 1 more for every 50 iterations"
    )
    max_cname: Annotated[int, Field(ge=2, le=64)] = Field(
        DEFAULT.links, description="aliases followed for one question"
    )
    max_queries: Annotated[int, Field(ge=20, le=1000)] = Field(
        DEFAULT.queries,
        description="queries for one question; each counts 1, and 1 more for every 8 labels of its name",
    )
    max_records: Annotated[int, Field(ge=100, le=5000)] = Field(
        DEFAULT.records, description="records read for one question, and in any one message"
    )
    max_time: Annotated[Duration, _within(_SECOND, 5 * _MINUTE)] = Field(
        DEFAULT.time,
        description="time that one resolver may take for one question, with all that its proof needs (1s to 5m)",
    )
    bogus_ttl: Annotated[Duration, _within(_SECOND, 5 * _MINUTE)] = Field(
        DEFAULT.bogus_ttl, description="how long a bogus answer is kept before it is asked for again (1s to 5m)"
    )

    @field_validator("algorithms")
    @classmethod
    def _computed_algorithms(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return _known(numbers, ALGORITHMS, "signature algorithm")

    @field_validator("digests")
    @classmethod
    def _computed_digests(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return _known(numbers, DIGESTS, "digest type")

    def rules(self) -> Rules:
        """Give the rules of the validator."""
        return Rules(
            algorithms=frozenset(self.algorithms),
            digests=frozenset(self.digests),
            skew=self.rrsig_skew,
            checks_per_set=self.max_rrsig_checks_per_rrset,
            checks=self.max_rrsig_checks_per_resolution,
            same_tag_keys=self.max_same_tag_keys,
            failed_digests=self.max_wrong_digests,
            nsec3_iterations=self.nsec3_max_iterations,
            nsec3_over_limit=self.nsec3_over_limit,
            nsec3_hashes=self.max_nsec3_hashes,
            links=self.max_cname,
            queries=self.max_queries,
            records=self.max_records,
            time=self.max_time,
            bogus_ttl=self.bogus_ttl,
        )


def _known(numbers: tuple[int, ...], known: frozenset[int], what: str) -> tuple[int, ...]:
    """Refuse numbers that nothing here computes, and an empty list, with which every zone would be insecure."""
    unknown = sorted(set(numbers) - known)
    if unknown:
        raise ValueError(f"{what} {unknown[0]} cannot be computed here; known: {sorted(known)}")
    if not numbers:
        raise ValueError(f"without any {what} every zone would be insecure; expected one or more of {sorted(known)}")
    return numbers
