"""The page of the resolvers: whether the word of each on DNSSEC counts, by which canaries, and a test on demand.

A test asks what the self-test of a worker asks, from here and within a time limit, and changes nothing for the workers.
"""

import asyncio
from dataclasses import dataclass, replace

from delivery.nameserver import system_servers
from delivery.resolver import Resolver
from delivery.trust import Examination
from ops.console.page import Answer, Call
from pipeline.spine import utc_now

LONGEST = 20.0  # seconds for all resolvers


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test of one resolver has found; nothing but a `fault` where it did not end in time."""

    server: str
    found: Examination | None = None
    fault: str = ""


def _known(call: Call) -> list[str]:
    return [str(server) for server in call.config.dns_settings().servers or system_servers()]


async def show(call: Call) -> Answer:
    """Show what is configured."""
    return {"servers": _known(call), "dns": call.config.dns, "tested": None}


async def test(call: Call) -> Answer:
    """Test all resolvers now."""
    settings = call.config.dns_settings()
    servers = settings.servers or system_servers()

    async def one(server: object) -> Tested:
        resolver = Resolver(replace(settings, servers=(server,)), now=utc_now)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(LONGEST):
                (found,) = await resolver.check()
        except TimeoutError:
            return Tested(str(server), fault=f"its self-test does not end within {LONGEST:g} s")
        finally:
            await resolver.aclose()
        return Tested(str(server), found)

    tested = await asyncio.gather(*map(one, servers))
    return {"servers": _known(call), "dns": call.config.dns, "tested": tested}
