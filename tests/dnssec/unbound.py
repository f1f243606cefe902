"""A real Unbound as the judge: it validates from the root of the trees, at their time, and forwards to their server.

One process judges thousands of questions, as each tree stands below a label of its own. It has no state that one tree
leaves for another but the keys of the root. It waits long for the server, which may be busy making trees, and never loses a
datagram on loopback.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
from dns.rcode import SERVFAIL, Rcode
from dns.rdatatype import RdataType

from tests.dnssec.zones import NOW, Tree
from tests.needs import free_port, program

_CONFIG = """\
server:
    interface: 127.0.0.1@{port}
    directory: "{directory}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 0
    log-servfail: yes
    num-threads: 1
    module-config: "validator iterator"
    trust-anchor: "{anchor}"
    val-override-date: "{now:%Y%m%d%H%M%S}"
    val-sig-skew-min: {skew}
    val-sig-skew-max: {skew}
    val-nsec3-keysize-iterations: "1024 {iterations} 2048 {iterations} 4096 {iterations}"
    val-max-restart: 0
    val-bogus-ttl: 30
    ede: yes
    do-ip6: no
    do-not-query-localhost: no
    local-zone: "." transparent
    qname-minimisation: no
    aggressive-nsec: no
    minimal-responses: yes
    prefetch: no
    outbound-msg-retry: 2
    unknown-server-time-limit: 10000
    infra-cache-min-rtt: 10000
    infra-cache-max-rtt: 20000
    msg-cache-size: 16m
    rrset-cache-size: 16m
    key-cache-size: 16m
remote-control:
    control-enable: no
{kind}-zone:
    name: "."
    {kind}-addr: 127.0.0.1@{upstream}
"""


class State(StrEnum):
    """How a validator sees an answer (RFC 4033 section 5); FAILED has no answer even without validation."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Unbound says: `rcode` is that of the answer, without validation if it is bogus; `codes` are of RFC 8914."""

    state: State
    rcode: Rcode
    codes: frozenset[int]
    text: str
    response: dns.message.Message


class Unbound:
    """A running Unbound."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, name: dns.name.Name, rdtype: RdataType, *, unchecked: bool = False) -> dns.message.Message:
        """Ask one question, with CD if it is to be `unchecked`. Raises dns.exception.DNSException."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=4096)
        query.flags |= dns.flags.AD | (dns.flags.CD if unchecked else 0)
        for _ in range(2):  # on a machine that is busy with other things, a datagram may be lost
            with suppress(dns.exception.Timeout):
                return dns.query.udp_with_fallback(query, "127.0.0.1", timeout=10, port=self.port)[0]
        return dns.query.udp_with_fallback(query, "127.0.0.1", timeout=20, port=self.port)[0]

    def judge(self, name: dns.name.Name, rdtype: RdataType) -> Verdict:
        """Give the verdict on one question: SERVFAIL is bogus if there is an answer without validation."""
        response = self.ask(name, rdtype)
        said = [one for one in response.options if isinstance(one, dns.edns.EDEOption)]
        state, rcode = State.INSECURE, response.rcode()
        if rcode == SERVFAIL:
            rcode = self.ask(name, rdtype, unchecked=True).rcode()
            state = State.FAILED if rcode == SERVFAIL else State.BOGUS
        elif response.flags & dns.flags.AD:
            state = State.SECURE
        codes = frozenset(int(one.code) for one in said)
        return Verdict(state, rcode, codes, " ".join(one.text or "" for one in said), response)


@contextmanager
def unbound(
    directory: Path,
    upstream: int,
    *,
    anchor: str = Tree().anchor,
    skew: int = 300,
    iterations: int = 100,
    stub: bool = False,
) -> Iterator[Unbound]:
    """Run an Unbound that forwards to a port, and end it with the block; `skew` in seconds.

    With `stub` it iterates: it takes what is there for the name server of the root and of all zones.
    Raises RuntimeError if it does not start.
    """
    path = program("unbound")
    port = free_port()
    config = directory / "unbound.conf"
    config.write_text(
        _CONFIG.format(
            port=port, upstream=upstream, directory=directory, anchor=anchor, now=NOW, skew=skew,
            iterations=iterations, kind="stub" if stub else "forward",
        )
    )  # fmt: skip
    with (
        (directory / "unbound.log").open("wb") as log,
        subprocess.Popen([path, "-d", "-c", config], stderr=log) as process,
    ):
        try:
            _wait(port, process, directory / "unbound.log")
            yield Unbound(port)
        finally:
            process.terminate()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    query = dns.message.make_query(".", "SOA")
    for _ in range(100):
        if process.poll() is not None:
            break
        try:
            dns.query.udp(query, "127.0.0.1", timeout=0.1, port=port)
        except (dns.exception.DNSException, OSError):  # not yet
            continue
        return
    raise RuntimeError(f"Unbound does not start: {log.read_text(errors='replace')}")
