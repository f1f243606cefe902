"""What the validator supports, and how much work one question may cost.

Whoever answers a question also chooses how many keys, signatures and hashes there are to try, so that each kind of
work has an upper bound (RFC 4035 section 5.4; CVE-2023-50387 and CVE-2023-50868 are what happens without). `Rules`
names the bounds, a `Budget` counts against them for one question. What is over a bound raises `BudgetExceeded`: not
everything was looked at, hence nothing is known, and least of all that the answer is insecure.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

ALGORITHMS = frozenset({5, 7, 8, 10, 13, 14, 15, 16})  # RFC 4034 appendix A.1, RFC 5155, 5702, 6605, 8080
DIGESTS = frozenset({1, 2, 4})  # RFC 4034 appendix A.2, RFC 4509, 6605


class BudgetExceeded(Exception):  # noqa: N818 - it is no error of ours: the text names the limit that was reached
    """A question cost more work than it may; the answer is indeterminate, never insecure."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The algorithms and digests that count as supported, the tolerance of clocks, and the bounds on work."""

    algorithms: frozenset[int] = ALGORITHMS
    """Signature algorithms by number: RSA/SHA-1 (5, 7), RSA/SHA-2 (8, 10), ECDSA (13, 14), EdDSA (15, 16)."""
    digests: frozenset[int] = DIGESTS
    """DS digest types by number: SHA-1, SHA-256, SHA-384."""
    skew: timedelta = timedelta(minutes=5)
    """How far our clock and a signer's may differ: added at both ends of a signature's life."""
    checks_per_set: int = 8
    """Signatures checked for one record set."""
    checks: int = 64
    """Signatures checked for one question."""
    same_tag_keys: int = 4
    """Keys of one tag and algorithm tried for one signature."""
    failed_digests: int = 4
    """DS records of one set whose digest differs from that of the key with their tag and algorithm."""
    nsec3_iterations: int = 100
    """More iterations than these are not computed: what then stands in `nsec3_over_limit`."""
    nsec3_over_limit: Literal["insecure", "error"] = "insecure"
    """A denial with more iterations, once its signature has been verified, is insecure or no answer (RFC 9276 3.2)."""
    nsec3_hashes: int = 128
    """Hash computations for one question; each counts 1, and 1 more for every 50 iterations."""
    links: int = 16
    """Aliases followed for one question."""
    queries: int = 100
    """Queries sent for one question; each counts 1, and 1 more for every 8 labels of its name."""
    records: int = 300
    """Records read for one question, in the answers to those queries, and in any one message."""
    time: timedelta = timedelta(seconds=20)
    """How long one resolver is asked for one question, with all that its proof needs (counted by whoever asks)."""
    bogus_ttl: timedelta = timedelta(seconds=5)
    """How long a bogus outcome may be kept (RFC 4035 section 4.7)."""

    def __post_init__(self) -> None:
        """Raise ValueError for an algorithm or digest that nothing here can compute: it would count as broken."""
        for what, named, known in (("algorithm", self.algorithms, ALGORITHMS), ("digest", self.digests, DIGESTS)):
            unknown = sorted(named - known)
            if unknown:
                raise ValueError(f"{what} {unknown[0]} cannot be computed here; known: {sorted(known)}")


DEFAULT = Rules()


@dataclass(slots=True)
class Budget:
    """What one question has cost so far. Each method is called before the work that it counts."""

    rules: Rules = DEFAULT
    checks: int = field(default=0, init=False)
    hashes: float = field(default=0.0, init=False)
    queries: int = field(default=0, init=False)
    records: int = field(default=0, init=False)

    def check(self) -> None:
        """Count one check of a signature. Raises `BudgetExceeded`."""
        self.checks += 1
        if self.checks > self.rules.checks:
            raise BudgetExceeded(f"more than {self.rules.checks} signature checks for one question")

    def hash(self, iterations: int) -> None:
        """Count one NSEC3 hash with so many additional iterations. Raises `BudgetExceeded`."""
        self.hashes += 1 + iterations / 50
        if self.hashes > self.rules.nsec3_hashes:
            raise BudgetExceeded(f"more than {self.rules.nsec3_hashes} weighted NSEC3 hashes for one question")

    def query(self, labels: int) -> None:
        """Count one query for a name of so many labels. Raises `BudgetExceeded`."""
        self.queries += 1 + labels // 8
        if self.queries > self.rules.queries:
            raise BudgetExceeded(f"more than {self.rules.queries} weighted queries for one question")

    def read(self, records: int) -> None:
        """Count the records of a response. Raises `BudgetExceeded`."""
        self.records += records
        if self.records > self.rules.records:
            raise BudgetExceeded(f"more than {self.rules.records} records read for one question")
