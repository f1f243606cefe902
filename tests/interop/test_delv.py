"""BIND's `delv` and we come to the same about every name of the lab that mail is sent by, from the same anchor.

Both ask the lab's nameserver, which validates nothing: what each says is what it has proven itself.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from delivery.dnssec.anchors import Anchors
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from ops.lab.world import Lab
from ops.lab.zones import tlsa_owner
from stages.answer import Question
from tests.needs import program

FAILED = "resolution failed: "
# What delv says of a chain or a denial that does not hold; without an answer it says "failure".
BROKEN = ("RRSIG failed to verify", "RRSIG has expired", "broken trust chain")
AT_ONCE = 4


def _trust_anchors(lab: Lab) -> str:
    """Write the anchor of the lab, a DS record of the root, in the form of named.conf."""
    tag, algorithm, kind, *digest = lab.anchor_file.read_text(encoding="utf-8").split()[4:]
    return f'trust-anchors {{ . static-ds {tag} {algorithm} {kind} "{"".join(digest)}"; }};\n'


def _questions(lab: Lab) -> Iterator[Question]:
    """Give what delivery asks: MX of each domain, addresses and TLSA of each host; nothing that is answered late."""
    for scenario in lab.scenarios:
        yield Question(scenario.domain, "MX")
        if any(fault.drop or fault.delay for fault in scenario.faults):
            continue
        for host in scenario.hosts:
            name = scenario.absolute(host.name)
            yield from (Question(name, "A"), Question(tlsa_owner(name, lab.smtp_port), "TLSA"))


def _status(printed: str, complaint: str) -> str:
    """Say what delv found, in our words: it marks each record set, an alias before others."""
    marks = [line.removeprefix("; ") for line in printed.splitlines() if line.startswith("; ")]
    if any(mark.endswith("unsigned answer") for mark in marks):
        return "insecure"
    if any(mark.endswith("fully validated") for mark in marks):
        return "secure"
    (reason,) = [line.partition(FAILED)[2] for line in complaint.splitlines() if FAILED in line]
    return "bogus" if reason in BROKEN else "indeterminate" if reason == "failure" else reason


async def _delv(command: str, server: Server, anchors: Path, question: Question) -> str:
    process = await asyncio.create_subprocess_exec(
        command, f"@{server.address}", "-p", str(server.port), "-a", str(anchors), "+root=.",
        question.name, question.rdtype,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, complaint = await process.communicate()
    return _status(printed.decode(), complaint.decode())


async def test_delv_agrees_about_every_domain_of_the_lab(tmp_path: Path) -> None:
    """SEC-66 (RFC 4035 section 5): secure, insecure, bogus and unanswered are the same to delv, denials as well."""
    command = program("delv")
    limit = asyncio.Semaphore(AT_ONCE)
    async with Lab.open(tmp_path / "lab", validation="local") as lab:
        anchors, server = tmp_path / "anchors.conf", Server.parse(lab.resolver)
        anchors.write_text(_trust_anchors(lab), encoding="utf-8")
        settings = LocalSettings(Anchors.parse(lab.anchor_file.read_text(encoding="utf-8")))
        validator = LocalValidator(settings, lambda: datetime.now(UTC))

        async def judged(question: Question) -> tuple[str, str]:
            async with limit:
                ours = await validator.judge(server, question)
                return str(ours.status), await _delv(command, server, anchors, question)

        questions = list(dict.fromkeys(_questions(lab)))
        found = dict(zip(questions, await asyncio.gather(*map(judged, questions)), strict=True))
    assert {str(question): pair for question, pair in found.items() if pair[0] != pair[1]} == {}
    assert {"secure", "insecure", "bogus", "indeterminate"} <= {ours for ours, _ in found.values()}
    assert {question.name for question in found} >= {scenario.domain for scenario in lab.scenarios}
