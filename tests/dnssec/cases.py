"""Cases: a tree, a question and damages, put below a label made from all of them.

The label is the same whenever the case is, and no other case has it, so that one server and one Unbound can see any
number of cases, and one that went wrong can be seen again.
"""

import hashlib
from dataclasses import dataclass, replace

import dns.message
import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType

from tests.dnssec.damage import Damage, answers
from tests.dnssec.server import World
from tests.dnssec.unbound import Unbound, Verdict
from tests.dnssec.zones import Tree


@dataclass(frozen=True, slots=True)
class Case:
    """A question for a name relative to the apex of a tree with damages."""

    tree: Tree
    name: str
    rdtype: str
    damages: tuple[Damage, ...] = ()

    @property
    def placed(self) -> "Case":
        """Give the case below a label of its own."""
        label = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        return replace(self, tree=replace(self.tree, apex=f"x{label}"))

    @property
    def question(self) -> tuple[dns.name.Name, RdataType]:
        """Give the question."""
        return self.tree.absolute(self.name), dns.rdatatype.from_text(self.rdtype)

    def respond(self, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        """Answer any question about the tree."""
        return answers(self.tree, self.damages, name, rdtype)


@dataclass(frozen=True, slots=True)
class Bench:
    """A world that is served, and an Unbound that asks there."""

    world: World
    judge: Unbound

    def verdict(self, case: Case) -> Verdict:
        """Let Unbound judge a case that is placed, as long as no other thread does so too."""
        with self.world.placed(case.tree.apex, case.respond):
            return self.judge.judge(*case.question)
