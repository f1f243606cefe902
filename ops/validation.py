"""Which way to get security is in use at each resolver, and why, as operators are told it.

`tried` makes the self-test of all resolvers that the configuration names, each within a bound; `in_words` says for a
terminal what came of one. `python -m ops.validation` says that of the configuration that the environment names. What
the workers believe they find out for themselves, in the same way.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from delivery.nameserver import Server, system_servers
from delivery.resolver import DnsSettings, Resolver
from delivery.trust import Examination, Source
from pipeline.config import Config, load
from pipeline.spine import utc_now

_WORDS = {
    Source.TRUSTED: "{} validates, and is believed",
    Source.LOCAL: "{}: its answers are proven here",
    Source.BOTH: "{} validates, and its answers are proven here as well",
}
_ANY = "Name one in dns.servers that can be reached: any resolver that passes DNSSEC records on will do"
_VALIDATING = (
    'It must be a validating resolver on this machine, or one that dns.trust names; with dns.validation = "auto"\n'
    "  any resolver that passes DNSSEC records on will do"
)
_MENDS = {"auto": _ANY, "local": _ANY, "trusted": _VALIDATING, "both": _VALIDATING}


@dataclass(frozen=True, slots=True)
class InUse:
    """One resolver: the way that is in use (None: no answer of it counts), and why."""

    resolver: str
    source: Source | None
    why: str

    def __str__(self) -> str:
        """Give a line."""
        return f"{self.resolver} {self.source or 'is not used'} ({self.why})"

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {"resolver": self.resolver, "source": self.source and str(self.source), "why": self.why}


async def tried(settings: DnsSettings) -> tuple[InUse, ...]:
    """Make the self-test of all resolvers at once; one that takes longer than `settings.timeout` has not passed."""
    servers = settings.servers or system_servers()
    return tuple(await asyncio.gather(*(_tried(server, settings) for server in servers)))


async def _tried(server: Server, settings: DnsSettings) -> InUse:
    patience = settings.timeout.total_seconds()
    resolver = Resolver(replace(settings, servers=(server,)), now=utc_now)
    try:
        async with asyncio.timeout(patience):
            (found,) = await resolver.check()
    except TimeoutError:
        return InUse(str(server), None, f"its self-test does not end within {patience:g} s, which is dns.timeout")
    finally:
        await resolver.aclose()
    return InUse(str(server), found.source if found.passed else None, found.why)


def in_words(passed: Sequence[Examination]) -> str:
    """Say how each resolver that passes its self-test is used."""
    groups = {source: [str(one.server) for one in passed if one.source is source] for source in Source}
    return "; ".join(_WORDS[source].format(", ".join(names)) for source, names in groups.items() if names)


async def told(config: Config) -> str:
    """Say whether answers from DNS count, after a self-test, and where they do not, how to mend that."""
    resolver = Resolver(config.dns_settings(), now=utc_now)
    passed = [one for one in await resolver.check() if one.passed]
    if passed:
        return f"DNS: {in_words(passed)}"
    return f"DNS: mail that DANE concerns waits, since {resolver.suspended}.\n  {_MENDS[config.dns.validation]}"


def main() -> None:
    """Say it on standard error."""
    named = os.environ.get("DANEPIPE_CONFIG")
    config = load(Path(named) if named else None, os.environ)
    click.echo(asyncio.run(told(config)), err=True)


if __name__ == "__main__":
    main()
