"""Every figure that Prometheus can have of danepipe: its name, its labels, and what to do when it moves.

The text of a figure is for whoever sees it move and has nothing else at hand. Labels take words from short lists of our
own, and never a domain, an address or a text of others: there are some hundred series, however much mail there is.
How figures are counted stands in `pipeline.metrics`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

FAST = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)  # seconds: a question, a handshake
SLOW = (0.1, 0.3, 1, 3, 10, 30, 60, 300, 1800, 3600, 14400, 86400)  # seconds: the way of a message


class Kind(StrEnum):
    """What kind of figure it is, as Prometheus has it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `mode` says what several processes of one part make of a gauge together."""

    name: str  # without `danepipe_` in front and `_total` behind
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    mode: Literal["livemin", "livemax", "mostrecent"] = "mostrecent"
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Name the series that Prometheus has of it."""
        name = f"danepipe_{self.name}"
        match self.kind:
            case Kind.COUNTER:
                return (f"{name}_total",)
            case Kind.HISTOGRAM:
                return (f"{name}_bucket", f"{name}_sum", f"{name}_count")
            case Kind.GAUGE:
                return (name,)


_ALL = (
    Figure(
        "messages_accepted",
        Kind.COUNTER,
        "Messages kept and answered with success, by way in; what commands put in is not seen here. Falls to "
        "none: look whether clients reach the listener. Far above the usual: look who sends (events "
        "message.accepted).",
        labels=("source",),
    ),
    Figure(
        "commands_refused",
        Kind.COUNTER,
        "Commands of clients that were refused, by 4yz, 5yz, or tls for a handshake that failed. 4yz rises: we "
        "lack room or Redis (danepipe_pressure, danepipe_incidents). 5yz rises: a client is set up wrongly, or a "
        "stranger tries to relay; events message.refused say who and why.",
        labels=("reply",),
    ),
    Figure(
        "recipients_settled",
        Kind.COUNTER,
        "Recipients settled, by what became of them (delivered, relayed, failed, dropped) and what TLS proved for "
        "those that were delivered. No dane at all: the resolver or the path to it loses security; run danepipe "
        "explain on a domain with DANE. failed rises: danepipe_troubles says by which class.",
        labels=("state", "security"),
    ),
    Figure(
        "troubles",
        Kind.COUNTER,
        "Recipients put off (defer) or failed (refuse), by class of reason. dns rises for many domains: look at "
        "the resolver. dane or tls: danepipe report or the log says which domains; a single one has to mend its "
        "records. smtp: read the replies; many hosts at once often mean that our address is on a list.",
        labels=("verdict", "reason"),
    ),
    Figure(
        "attempts",
        Kind.COUNTER,
        "Connections tried, by what was demanded and how they ended (session: good for mail). smtp.connect and "
        "smtp.timeout rise everywhere: our network or port 25 out. dane.mismatch rises for many hosts: suspect "
        "the way out before you suspect them.",
        labels=("demand", "outcome"),
    ),
    Figure(
        "reports",
        Kind.COUNTER,
        "Reports to senders put into the queue. failed or delayed rises: as danepipe_troubles. A flood of them "
        "may be backscatter: look who the senders are.",
        labels=("kind",),
    ),
    Figure(
        "circuits_opened",
        Kind.COUNTER,
        "Addresses that were left alone because they could not be reached. Some are usual. A wave: look at our "
        "network; event circuit.opened names them.",
    ),
    Figure(
        "stage_errors",
        Kind.COUNTER,
        "Faults of ours, by stage (or accept, clock, watch, recheck). Not 0: read event stage.error; the mail "
        "concerned rests and is tried again. Tell the maintainers, or those of a plug-in.",
        labels=("stage",),
    ),
    Figure(
        "incidents",
        Kind.COUNTER,
        "Events that somebody may have to look at, by kind; log-events.md says of each what to do. lease.lost and "
        "lease.reaped: workers die or stand still, look at processor and memory. redis.unavailable: look at "
        "Redis.",
        labels=("event",),
    ),
    Figure(
        "first_attempt_seconds",
        Kind.HISTOGRAM,
        "Time from acceptance to the end of the first try of a delivery. Grows: too few workers for the mail that "
        "comes, or hosts that answer slowly; compare with danepipe_session_seconds.",
        buckets=SLOW,
    ),
    Figure(
        "delivery_seconds",
        Kind.HISTOGRAM,
        "Time from acceptance to the 250 of the remote host. Grows while danepipe_first_attempt_seconds does not: "
        "remote hosts put mail off; danepipe_troubles says why.",
        buckets=SLOW,
    ),
    Figure(
        "dns_seconds",
        Kind.HISTOGRAM,
        "Time that the DNS answers for a destination took, as mail that waited for them met it. Grows: look at "
        "the resolver and its cache.",
        buckets=FAST,
    ),
    Figure(
        "session_seconds",
        Kind.HISTOGRAM,
        "Time to open a session that was good for mail (connection, greeting, TLS and its check), by what was "
        "demanded. Grows for all: our network or processor; the handshake is the part that takes processor time.",
        labels=("demand",),
        buckets=FAST,
    ),
    Figure(
        "resolver_usable",
        Kind.GAUGE,
        "1 while a resolver passes its self-test, 0 while none does: mail that DANE concerns waits. 0: mend the "
        "resolver; event resolver.suspended says what fails.",
        mode="livemin",
    ),
    Figure(
        "resolver_tested_timestamp_seconds",
        Kind.GAUGE,
        "When the self-test of the resolver last ended, in the worker where that is longest ago. Older than three "
        "times dns.canary_interval: the worker hangs; restart it and tell the maintainers.",
        mode="livemin",
    ),
    Figure(
        "pressure",
        Kind.GAUGE,
        "What new mail meets: 0 nothing, 1 replies wait, 2 it hears 452. Not 0: event accept.pressure says what "
        "runs short; then more workers, or more room.",
        mode="livemax",
    ),
    Figure(
        "queue_messages",
        Kind.GAUGE,
        "Messages not settled. Grows without end: more comes than goes; look at danepipe_troubles, then at the "
        "number of workers.",
        mode="mostrecent",
    ),
    Figure(
        "queue_scheduled",
        Kind.GAUGE,
        "Groups of recipients that wait for their next try. Grows: hosts put mail off; danepipe_troubles says why.",
        mode="mostrecent",
    ),
    Figure(
        "queue_held",
        Kind.GAUGE,
        "Groups of recipients that an operator, or a fault, has held. Not 0: they wait for you; danepipe queue "
        "list shows them, queue release or drop ends it.",
        mode="mostrecent",
    ),
    Figure(
        "queue_destinations",
        Kind.GAUGE,
        "Destinations with mail ready to go. Stays high while workers are idle: connections are limited; look at "
        "circuits and limits.",
        mode="mostrecent",
    ),
    Figure(
        "circuits_open",
        Kind.GAUGE,
        "Addresses that are left alone now, since they could not be reached. Many: look at our network before you "
        "look at theirs.",
        mode="mostrecent",
    ),
    Figure(
        "destinations_parked",
        Kind.GAUGE,
        "Destinations left alone now, since their certificates do not match. Many at once: somebody may stand "
        "between us and all of them.",
        mode="mostrecent",
    ),
    Figure(
        "suspensions",
        Kind.GAUGE,
        "Destinations, sites and senders suspended by command. Not 0 for long: somebody forgot to resume.",
        mode="mostrecent",
    ),
    Figure(
        "exclusions",
        Kind.GAUGE,
        "Exclusions from DANE added by command. Grows: each is mail without DANE; end those whose domains pass "
        "again (event exclusion.passes).",
        mode="mostrecent",
    ),
    Figure(
        "redis_memory_bytes",
        Kind.GAUGE,
        "Memory that Redis uses. Near danepipe_redis_memory_limit_bytes: new mail will be put off; drain the "
        "queue, or give Redis more.",
        mode="mostrecent",
    ),
    Figure(
        "redis_memory_limit_bytes",
        Kind.GAUGE,
        "maxmemory of Redis; 0: it has none. 0 on a machine that Redis shares: set one.",
        mode="mostrecent",
    ),
    Figure(
        "queue_oldest_timestamp_seconds",
        Kind.GAUGE,
        "When the oldest message that is not settled was accepted; 0: there is none. Older than queue.lifetime: "
        "messages are held, or the clock does not run.",
        mode="mostrecent",
    ),
    Figure(
        "clock_looked_timestamp_seconds",
        Kind.GAUGE,
        "When the clock last counted the queue. Older than a minute: the clock does not run, or Redis is away; "
        "retries wait until it does.",
        mode="mostrecent",
    ),
)
FIGURES: Mapping[str, Figure] = {one.name: one for one in _ALL}
