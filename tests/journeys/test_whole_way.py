"""A message's whole way with everything real: in by each door, DANE-verified out, and octet for octet the same."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiosmtplib
import pytest

from ops.lab.demo import danepipe_up, possible
from ops.lab.mailhost import Received
from ops.lab.scenarios import named
from ops.lab.world import Lab
from tests.needs import free_port, redis_server

DOMAIN = "ee-311.lab"
SENDER = "alice@sender.lab"


@dataclass(frozen=True, slots=True)
class World:
    """A lab, and a danepipe that sends into it."""

    lab: Lab
    config: Path
    port: int

    async def command(self, *arguments: str, given: bytes = b"") -> str:
        """Run a command and give what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(self.config), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(given)
        assert process.returncode == 0, err.decode()
        return out.decode().strip()

    async def arrived(self, count: int) -> tuple[Received, ...]:
        """Wait until so many messages are there."""
        async with asyncio.timeout(30):
            while len(self.lab.received(DOMAIN)) < count:  # noqa: ASYNC110 - the far end tells nobody
                await asyncio.sleep(0.05)
        return self.lab.received(DOMAIN)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Run a lab of two domains and `danepipe up`."""
    redis_server()
    async with Lab.open(tmp_path / "lab", named("sender", "ee-311"), possible()) as lab:
        port = free_port()
        config = lab.write_config(
            tmp_path / "danepipe.toml",
            more={
                "listen": {"smtp": f"127.0.0.1:{port}"},
                "store": {"dir": str(tmp_path / "var")},
                "log": {"file": str(tmp_path / "log.jsonl")},
            },
        )
        async with danepipe_up(config, port):
            yield World(lab, config, port)


def real_mail() -> bytes:
    """Make a message as mail programs make them: HTML, an image, 8-bit text, folded fields, lines that begin with dots."""
    mail = EmailMessage(policy=SMTP.clone(cte_type="8bit", max_line_length=78))
    mail["From"] = f"Alice Müller <{SENDER}>"
    mail["To"] = f"Bob <bob@{DOMAIN}>"
    mail["Subject"] = "Grüße, and a subject that is so long that it has to be folded over more than one line"
    mail["Date"] = "Wed, 25 Nov 2026 12:00:00 +0100"
    mail["Message-ID"] = "<1@sender.lab>"
    mail["X-Kept-As-It-Is"] = "  spaces   and\ttabs  "
    mail.set_content(".\n..\n.hidden\nFrom here on: Grüße\n \n", cte="8bit")
    mail.add_alternative("<p>Grüße</p>\n" * 50, subtype="html", cte="quoted-printable")
    mail.add_attachment(bytes(range(256)) * 400, maintype="image", subtype="png", filename="Überblick.png")
    mail.add_attachment("a,b\n1,2\n", subtype="csv", filename="t.csv")
    return mail.as_bytes()


def without_trace(content: bytes) -> bytes:
    """Take off the one `Received:` field that danepipe put in front."""
    field, _, rest = content.partition(b"\r\n")
    assert field.startswith(b"Received: ")
    while rest[:1] in {b" ", b"\t"}:
        field, _, rest = rest.partition(b"\r\n")
    return rest


async def test_a_message_with_attachments_arrives_octet_for_octet(world: World, tmp_path: Path) -> None:
    """SMTP-40, SMTP-44, SUB-18, SUB-19: by `send`, by SMTP and by `sendmail`, all but one Received field is the same, over DANE."""
    mail = real_mail()
    file = tmp_path / "mail.eml"
    file.write_bytes(mail)
    envelope = ("--from", SENDER, "--to", f"bob@{DOMAIN}")
    ids = [await world.command("send", str(file), *envelope)]
    ids.append(await world.command("send", "-", *envelope, given=mail))
    await world.command("sendmail", "-i", "-f", SENDER, f"bob@{DOMAIN}", given=mail.replace(b"\r\n", b"\n"))
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=world.port, start_tls=False) as client:
        await client.sendmail(SENDER, [f"bob@{DOMAIN}"], mail, mail_options=["BODY=8BITMIME"])
    received = await world.arrived(4)
    assert [without_trace(one.content) == mail for one in received] == [True] * 4
    assert {(one.sender, one.recipients, one.sni) for one in received} == {(SENDER, (f"bob@{DOMAIN}",), f"mx.{DOMAIN}")}
    for identifier in ids:
        assert "security dane" in await world.command("trace", identifier)
