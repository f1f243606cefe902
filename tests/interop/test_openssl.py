"""OpenSSL's own DANE verification beside ours, on every mail host of the lab that publishes usable records."""

import asyncio
from pathlib import Path
from typing import Any

from ops.cli.explain import explained
from ops.explain_views import as_json
from ops.lab.demo import possible
from ops.lab.world import Lab
from pipeline.accept.address import parse_address
from pipeline.config import Config, load
from stages.message import Origin
from stages.records import TLSA
from stages.usable import why_unusable
from tests.needs import program


async def _explain(config: Config, domain: str, limit: asyncio.Semaphore) -> dict[str, Any]:
    """Give what `danepipe explain --json --connect` says."""
    async with limit:
        found = await explained(config, parse_address(f"user@{domain}"), None, Origin("send"), connecting=True)
    return as_json(found)


def _usable(text: str) -> bool:
    usage, selector, mtype, data = text.split()
    record = TLSA(int(usage), int(selector), int(mtype), bytes.fromhex(data))
    return why_unusable(record, (3, 2), (2, 1)) is None


async def _openssl(command: str, host: dict[str, Any], address: str, port: int) -> bool:
    base = host["demand"]["base"]
    arguments = ["s_client", "-starttls", "smtp", "-connect", f"{address}:{port}", "-servername", base, "-brief"]
    arguments += ["-dane_tlsa_domain", base, "-dane_ee_no_namechecks", "-verify_return_error", "-verify", "9"]
    for record in filter(_usable, host["facts"]["records"]):
        arguments += ["-dane_tlsa_rrdata", record]
    process = await asyncio.create_subprocess_exec(
        command, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode == 0 and b"Verification: OK" in output


async def test_openssl_agrees_with_explain_on_every_host(tmp_path: Path) -> None:
    """DANE-15, DANE-53, DANE-58 (RFC 7671 5): `openssl s_client -dane_tlsa_domain` verifies what we verify, and no more."""
    command = program("openssl")
    limit = asyncio.Semaphore(2)
    compared, differ = 0, []
    async with Lab.open(tmp_path / "lab", validation=possible()) as lab:
        config = load(lab.write_config(tmp_path / "danepipe.toml", "redis://127.0.0.1:1/0"), {})
        found = await asyncio.gather(*(_explain(config, scenario.domain, limit) for scenario in lab.scenarios))
        for one in found:
            for bound in one["destinations"]:
                hosts = {host["name"]: host for host in (bound["plan"] or {}).get("hosts", ())}
                for connection in bound["connections"]:
                    host = hosts[connection["host"]]
                    if host["demand"]["kind"] != "dane":
                        continue
                    ours = connection["outcome"] == "session" and connection["security"].startswith("dane")
                    compared += 1
                    if ours is not await _openssl(command, host, connection["address"], connection["port"]):
                        differ.append((one["address"], connection["host"], connection["outcome"]))
    assert compared > 20
    assert not differ
