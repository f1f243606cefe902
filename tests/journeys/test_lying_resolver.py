"""A resolver begins to lie in the middle of a run: no mail bounces, none goes out less safely, and all goes when it heals."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.rdatatype
import pytest

from delivery.nameserver import Server
from ops.lab.demo import danepipe_up
from ops.lab.scenarios import named
from ops.lab.world import Lab, Validation
from tests.delivery.test_resolver_faults import Liar
from tests.needs import free_port, redis_server
from tests.validating import validated_lab

MAIL = b"From: alice@sender.lab\r\nSubject: x\r\n\r\nx\r\n"
HIDDEN = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


class Thief(Liar):
    """A liar that takes away the signatures, too, when it strips."""

    async def _answer(self, data: bytes, client: tuple[str, int]) -> None:
        if self.manner != "strips":
            await super()._answer(data, client)
            return
        response = await dns.asyncquery.udp(dns.message.from_wire(data), "127.0.0.1", port=self._upstream, timeout=3)
        response.flags &= ~dns.flags.AD
        for section in (response.answer, response.authority):
            section[:] = [rrset for rrset in section if rrset.rdtype not in HIDDEN]
        assert self._transport is not None
        self._transport.sendto(response.to_wire(), client)


@dataclass(frozen=True, slots=True)
class World:
    """A lab, a danepipe in it, and the liar between."""

    lab: Lab
    liar: Liar
    config: Path
    log: Path

    async def command(self, *arguments: str) -> None:
        """Run a command."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(self.config), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate(MAIL)
        assert process.returncode == 0, err.decode()

    async def send(self, domain: str) -> None:
        """Send one message."""
        await self.command("send", "-", "--from", "alice@sender.lab", "--to", f"user@{domain}")

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """List the events with these fields."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if fields.items() <= event.items()]

    async def until(self, condition: Any) -> None:
        """Wait for what other processes do."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - no other process sets an event of ours
                await asyncio.sleep(0.05)


@asynccontextmanager
async def world(directory: Path, validation: Validation) -> AsyncIterator[World]:
    """Run all of it."""
    redis_server()
    stories = named("sender", "ee-311", "mismatch", "tlsa-nodata")
    opened = Lab.open if validation == "local" else validated_lab
    async with opened(directory / "lab", stories, validation) as lab:
        liar = Thief(Server.parse(lab.resolver).port)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: liar, ("127.0.0.1", 0))
        port, log = free_port(), directory / "log.jsonl"
        server = f"127.0.0.1@{transport.get_extra_info('sockname')[1]}"
        config = lab.write_config(
            directory / "danepipe.toml",
            more={
                "dns": {"servers": [server], "canary_interval": "1s", "timeout": "2s"},
                "listen": {"smtp": f"127.0.0.1:{port}"},
                "store": {"dir": str(directory / "var")},
                "log": {"file": str(log)},
                "work": {"processes": 1},
            },
        )
        async with danepipe_up(config, port):
            yield World(lab, liar, config, log)
        transport.close()


@pytest.mark.parametrize(
    ("validation", "manner"),
    [("trusted", "strips"), ("trusted", "vouches"), ("local", "strips"), ("local", "fails"), ("both", "vouches")],
)
async def test_nothing_is_decided_by_a_resolver_that_lies(tmp_path: Path, validation: Validation, manner: str) -> None:
    """DANE-01, DANE-05, DANE-06, SEC-21, SEC-85: mail waits while it lies, whatever it says, and then goes as it should."""
    async with world(tmp_path, validation) as here:
        await here.send("ee-311.lab")
        await here.until(lambda: here.lab.received("ee-311.lab"))
        here.liar.manner = manner
        await here.until(lambda: here.events(event="resolver.suspended"))
        for domain in ("ee-311.lab", "mismatch.lab", "tlsa-nodata.lab"):
            await here.send(domain)
        await here.until(lambda: len(here.events(event="stage.verdict", verdict="defer")) >= 3)
        assert {one["code"] for one in here.events(event="stage.verdict", verdict="defer")} == {"dns.suspended"}
        assert len(here.lab.received("ee-311.lab")) == 1
        assert not here.lab.received("tlsa-nodata.lab")
        assert not here.events(event="bounce.sent")
        here.liar.manner = "honest"
        await here.until(lambda: here.events(event="resolver.restored"))
        await here.command("queue", "retry", "--all")
        await here.until(lambda: len(here.lab.received("ee-311.lab")) == 2 and here.lab.received("tlsa-nodata.lab"))
        await here.until(lambda: here.lab.received("sender.lab"))  # the report about the one that does not match
        done = here.events(event="stage.verdict", verdict="done", stage="deliver")
        assert [one["facts"]["security"] for one in done if "user@ee-311.lab" in one["recipients"]] == ["dane", "dane"]
        assert [one["codes"] for one in here.events(event="bounce.sent")] == [["dane.mismatch"]]
