"""The page of the resolvers: whether the word of each on DNSSEC counts, by which canaries, and a test on demand.

A test asks what the self-test of a worker asks, from here and within a time limit, and changes nothing for the workers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from delivery.nameserver import Server, system_servers
from delivery.resolver import Resolver
from delivery.trust import Examination, Source
from ops.console.page import Answer, Call
from pipeline.spine import utc_now
from pipeline.store.selftests import SelfTestStore

LONGEST = 20.0  # seconds for all resolvers


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test of one resolver has found; nothing but a `fault` where it did not end in time."""

    server: str
    found: Examination | None = None
    fault: str = ""

    @property
    def why(self) -> str:
        """Say in a few words what the outcome is; the canaries stand above it."""
        if self.found is None:
            return self.fault
        if not self.found.trusted:
            return "It is neither on loopback nor named in dns.trust, so its word on DNSSEC is not believed"
        return (
            {
                Source.TRUSTED: "It validates, and is believed",
                Source.LOCAL: "Its answers are proven here",
                Source.BOTH: "It validates, and its answers are proven here as well",
            }[self.found.source]
            if self.found.passed
            else "A canary fails"
        )


async def _shown(call: Call, tested: Sequence[Tested] | None) -> Answer:
    servers = [str(server) for server in call.config.dns_settings().servers or system_servers()]
    workers = await SelfTestStore(call.spine.redis).entries(utc_now())
    return {"servers": servers, "dns": call.config.dns, "tested": tested, "workers": workers}


async def show(call: Call) -> Answer:
    """Show what the workers found."""
    return await _shown(call, None)


async def test(call: Call) -> Answer:
    """Test all resolvers now."""
    settings = call.config.dns_settings()
    servers = settings.servers or system_servers()

    async def one(server: Server) -> Tested:
        resolver = Resolver(replace(settings, servers=(server,)), now=utc_now)
        try:
            async with asyncio.timeout(LONGEST):
                (found,) = await resolver.check()
        except TimeoutError:
            return Tested(str(server), fault=f"its self-test does not end within {LONGEST:g} s")
        finally:
            await resolver.aclose()
        return Tested(str(server), found)

    tested = await asyncio.gather(*map(one, servers))
    return await _shown(call, tested)
