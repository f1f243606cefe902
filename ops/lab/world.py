"""The lab as a whole: `async with Lab.open(directory) as lab` starts nameserver, resolver and hosts, and ends them.

`lab.settings()` is the configuration that danepipe needs to live in this small internet, `lab.write_config` puts it
into a file. With `validation="local"` danepipe proves all answers itself and no Unbound is needed. Raises `NoUnbound`
where one is needed and there is none, and OSError where loopback addresses cannot be bound.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dns.name
import dns.rdatatype
import tomlkit

from ops.lab.certificates import CertificateAuthority
from ops.lab.mailhost import Inbox, Mailhost, Received, free_port
from ops.lab.nameserver import Nameserver, Rule
from ops.lab.scenario import TLD, Breakage, Damage, Scenario, Way
from ops.lab.scenarios import ALL
from ops.lab.unbound import Unbound, find_unbound
from ops.lab.zones import Placed, Tree, build, tlsa_owner

# Domains for the self-test of danepipe's resolver, in every lab beside its scenarios.
_GOOD = Scenario("canary-good", "a canary: secure", hosts=(), null_mx=True)
_PLAIN = Scenario("canary-plain", "a canary: insecure", hosts=(), null_mx=True, signed=False)
_BROKEN = Scenario(
    "canary-broken", "a canary: bogus", hosts=(), null_mx=True, breakage=(Breakage(Damage.EXPIRED),)
)  # fmt: skip
_CANARIES = (_GOOD, _PLAIN, _BROKEN)


Validation = Literal["trusted", "local", "both"]


class Lab:
    """A running lab. `smtp_port` is the port of all its mail hosts, `resolver` its resolver as `address@port`."""

    def __init__(self, scenarios: Sequence[Scenario], smtp_port: int, placed: Sequence[Placed], inbox: Inbox) -> None:
        self.scenarios = tuple(scenarios)
        self.smtp_port = smtp_port
        self.placed = tuple(placed)
        self.inbox = inbox
        self.resolver = ""
        self.validation: Validation = "trusted"
        self.anchor_file: Path
        self.unbound: Unbound
        self.nameserver: Nameserver
        self.tree: Tree
        self.ca_file: Path

    @classmethod
    @asynccontextmanager
    async def open(
        cls, directory: Path, scenarios: Sequence[Scenario] = ALL, validation: Validation = "trusted"
    ) -> AsyncIterator["Lab"]:
        """Start everything, with its files in `directory` (made if needed), and end it afterwards."""
        if validation != "local":
            find_unbound()
        directory = _prepared(directory)
        async with AsyncExitStack() as stack:
            lab = await cls._open_hosts(directory, tuple(scenarios), stack)
            lab.nameserver = Nameserver(lab.tree.zones, list(_rules(lab.scenarios, lab.smtp_port)))
            await lab.nameserver.open()
            stack.push_async_callback(lab.nameserver.close)
            lab.validation = validation
            lab.anchor_file = directory / "root.key"
            lab.anchor_file.write_text(f"{lab.tree.anchor}\n", encoding="utf-8")
            if validation == "local":
                lab.resolver = f"127.0.0.1@{lab.nameserver.port}"
                yield lab
                return
            apart = [s.domain for s in lab.scenarios if any(fault.drop or fault.delay for fault in s.faults)]
            lab.unbound = Unbound(directory, lab.tree.anchor, lab.nameserver.port, apart)
            await lab.unbound.open()
            stack.push_async_callback(lab.unbound.close)
            lab.resolver = lab.unbound.address
            yield lab

    @classmethod
    async def _open_hosts(cls, directory: Path, scenarios: Sequence[Scenario], stack: AsyncExitStack) -> "Lab":
        authority = CertificateAuthority(directory, utc_now())
        pairs = [(scenario, host) for scenario in scenarios for host in scenario.hosts]
        addresses = [f"127.77.{number // 200}.{number % 200 + 10}" for number in range(len(pairs))]
        port, sockets = free_port(addresses)
        for one in sockets:
            stack.callback(one.close)
        inbox = Inbox()
        placed = []
        for (scenario, host), address, listener in zip(pairs, addresses, sockets, strict=True):
            name = scenario.canonical(host)
            identity = authority.issue(name, host.certificate)
            placed.append(Placed(scenario, host, address, identity))
            if host.behaviour.listens:
                mailhost = Mailhost(name, host.behaviour, str(identity.pem), inbox)
                await mailhost.open(listener)
                stack.push_async_callback(mailhost.close)
        lab = cls(scenarios, port, placed, inbox)
        lab.tree = await asyncio.to_thread(build, (*scenarios, *_CANARIES), placed, port)
        lab.ca_file = authority.path
        return lab

    def scenario(self, domain: str) -> Scenario:
        """Give the scenario of a domain. Raises KeyError."""
        return {scenario.domain: scenario for scenario in self.scenarios}[domain]

    def received(self, domain: str) -> tuple[Received, ...]:
        """Give the messages that were taken for recipients of a domain, in the order in which they came."""
        return tuple(
            message
            for message in self.inbox.messages
            if any(recipient.rpartition("@")[2].lower() == domain for recipient in message.recipients)
        )

    def address_of(self, domain: str) -> str:
        """Give the address of a domain's first host."""
        return next(one.address for one in self.placed if one.scenario.domain == domain)

    def canaries(self) -> dict[str, list[str]]:
        """Give questions with known answers, as `[dns]` has them."""
        return {
            "canary_secure": [f"{TLD}/SOA", f"{_GOOD.domain}/MX"],
            "canary_absent": [f"there-is-no-such-name.{TLD}/A"],
            "canary_insecure": [f"{_PLAIN.domain}/MX"],
            "canary_bogus": [f"{_BROKEN.domain}/MX"],
        }

    def settings(self) -> dict[str, Any]:
        """Give what danepipe's configuration must say to send to this lab."""
        settings: dict[str, Any] = {
            "hostname": f"out.{TLD}",
            "local_domains": [s.domain for s in self.scenarios if s.way is Way.LOCAL],
            "dns": {
                "servers": [self.resolver],
                "validation": self.validation,
                "anchor_file": str(self.anchor_file),
                "retry": ["300ms"],
                **self.canaries(),
            },
            "smtp": {"port": self.smtp_port, "allow_private": True, "prefer": "ipv4"},
            # the second attempt asks DNS anew: failed answers are remembered for five seconds
            "queue": {"retry": ["6s", "1h"], "jitter": 0.0},
        }
        routes = [self._route(s) for s in self.scenarios if s.way is not Way.MX]
        excluded = [
            {"pattern": f"*@{s.domain}", "reason": s.story, "owner": "the lab"} for s in self.scenarios if s.excluded
        ]
        special = [{"domain": s.domain, **s.settings} for s in self.scenarios if s.settings]
        tables = {"route": routes, "exclude": excluded, "destination": special}
        return {**settings, **{key: listed for key, listed in tables.items() if listed}}

    def _route(self, scenario: Scenario) -> Mapping[str, Any]:
        table = {"name": scenario.name, "recipient": [f"*@{scenario.domain}"], "action": str(scenario.way)}
        if scenario.way is Way.LOCAL:
            return {**table, "host": self.address_of(scenario.domain)}
        return {**table, "host": scenario.absolute(scenario.hosts[0].name)}

    def write_config(self, path: Path, redis_url: str = "embedded", more: Mapping[str, Any] | None = None) -> Path:
        """Write a configuration file; `more` has sections and keys that come on top of `settings()`."""
        settings = self.settings()
        for key, value in {"redis": {"url": redis_url}, **(more or {})}.items():
            settings[key] = {**settings.get(key, {}), **value} if isinstance(value, Mapping) else value
        path.write_text(tomlkit.dumps(settings), encoding="utf-8")
        return path


def _rules(scenarios: Sequence[Scenario], port: int) -> Iterator[Rule]:
    """Turn the faults of scenarios into rules of the nameserver."""
    for scenario in scenarios:
        for fault in scenario.faults:
            owner = scenario.absolute(fault.name)
            owner = tlsa_owner(owner, port) if fault.rdtype == "TLSA" else owner
            rdtype = dns.rdatatype.from_text(fault.rdtype) if fault.rdtype else None
            yield Rule(dns.name.from_text(owner), rdtype, fault.servfail, fault.drop, fault.delay)


def _prepared(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory.absolute()


def utc_now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)
