"""Scenes: a tree of zones, what is changed in it or done to the answers, and the story that is told of it.

A `Scene` says all of that, and `told` makes the `Story`. `Prepare` functions change zones before anything is signed,
so that the zones themselves are wrong; `Hurt` functions change answers, as someone on the way may.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
from dns.rdatatype import DNSKEY, RdataType

from delivery.dnssec.replies import Status
from stages.answer import Question
from tests.dnssec.authority import MAX_ALIASES, look_up
from tests.dnssec.story import Story, drive, question
from tests.dnssec.zones import NOW, Built, Denial, SignedZone, Tree, Zone, record_set

MAIL = ("@ MX 10 mx", "mx A 192.0.2.1", f"_25._tcp.mx TLSA 3 1 1 {'ab' * 32}")
HASHED = Denial(nsec3=True, salt="ab")


def tree(*records: str, **changes: object) -> Tree:
    """Give a tree of one zone, example, with records."""
    return Tree((replace(Zone("", records), **changes),))  # type: ignore[arg-type]


def hashed(*records: str, **changes: object) -> Tree:
    """Give a tree of one zone that denies with NSEC3."""
    return tree(*records, denial=replace(HASHED, **changes))  # type: ignore[arg-type]


PLAIN = tree(*MAIL)


class World:
    """The zones of a tree, for one scene alone."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.built = Built(tree)
        for zone in self.built.zones.values():  # keys in one order, in every run
            if DNSKEY in zone.sets[zone.origin]:
                keys = dict.fromkeys((zone.entry.dnskey, zone.signer.dnskey))
                zone.sets[zone.origin][DNSKEY] = record_set(zone.origin, DNSKEY, keys)

    def zone(self, name: str = "") -> SignedZone:
        """Give the zone of a name relative to the apex; "." is the root."""
        return self.built.zones[self.tree.absolute(name)]

    def answer(self, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        """Answer as `tests.dnssec.authority.answer`; an alias without end is an answer here, as far as it goes."""
        message = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True, id=0)
        message.flags = dns.flags.QR | dns.flags.RA | dns.flags.RD
        for _ in range(MAX_ALIASES):
            step = look_up(self.built.of(name, rdtype), name, rdtype)
            message.set_rcode(step.rcode)
            message.answer += [one for one in step.answer if one not in message.answer]
            message.authority += [one for one in step.authority if one not in message.authority]
            if step.alias is None:
                break
            name = step.alias
        return message


Prepare = Callable[[World], None]
Hurt = Callable[[World, dns.message.Message], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a story is made from; `silent` are questions (`NAME TYPE`) without a response."""

    name: str
    story: str
    requires: str
    asked: str
    status: str
    why: str = ""
    ede: int | None = None
    tree: Tree = PLAIN
    prepare: tuple[Prepare, ...] = ()
    hurts: tuple[Hurt, ...] = ()
    silent: tuple[str, ...] = ()
    finds: str = "records"
    proof: str = ""
    failure: str = ""
    ttl: int | None = None
    aliases: str = ""
    now: datetime = NOW
    rules: str = ""
    negative: str = ""
    anchor: Callable[[World], str] = lambda world: world.tree.anchor


def told(scene: Scene) -> Story:
    """Tell the story of a scene, with the replies that the validator asks for and those that it may ask for."""
    world = World(scene.tree)
    for prepare in scene.prepare:
        prepare(world)
    settled = scene.status in {"secure", "insecure"}
    story = Story(
        story=scene.story,
        requires=tuple(scene.requires.split()),
        question=question(scene.asked),
        now=scene.now,
        status=Status(scene.status),
        finds=scene.finds if settled else "",
        why=scene.why,
        proof=scene.proof,
        ede=scene.ede,
        failure=scene.failure,
        ttl=scene.ttl,
        aliases=tuple(scene.aliases.split()),
        rules=tuple(scene.rules.split()),
        negative=scene.negative,
        anchor=scene.anchor(world),
        replies=_Replies(world, scene),
    )
    _, asked = drive(story)
    name = dns.name.from_text(story.question.name)
    ways = [origin for origin in world.built.zones if name.is_subdomain(origin)]
    wanted = [*asked, *(_asks(origin, rdtype) for origin in ways for rdtype in ("DS", "DNSKEY"))]
    replies = {one: story.replies.get(one) for one in dict.fromkeys(wanted) if one != Question(".", "DS")}
    return replace(story, replies={one: message for one, message in replies.items() if message is not None})


def _asks(name: dns.name.Name, rdtype: str) -> Question:
    return Question("." if name == dns.name.root else name.to_text(omit_final_dot=True), rdtype)


class _Replies(dict[Question, dns.message.Message]):
    """All replies there could be."""

    def __init__(self, world: World, scene: Scene) -> None:
        self._world, self._scene = world, scene

    def get(self, asked: Question, default: object = None) -> dns.message.Message | None:  # type: ignore[override]
        """Give a reply, None if it is to have none."""
        if f"{asked.name} {asked.rdtype}" in self._scene.silent:
            return None
        if asked not in self:
            message = self._world.answer(dns.name.from_text(asked.name), dns.rdatatype.from_text(asked.rdtype))
            for hurt in self._scene.hurts:
                hurt(self._world, message)
            self[asked] = message
        return self[asked]
