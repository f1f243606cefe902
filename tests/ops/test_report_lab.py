"""What `danepipe report` counts in the log of a run is what the hosts have and what the ledger says."""

import json
import sys
from collections import Counter
from pathlib import Path

from redis.asyncio import Redis

from ops.cli.period import FIRST, LAST
from ops.lab.demo import danepipe_up, possible, send, watch, with_sender
from ops.lab.fates import Fates
from ops.lab.scenario import SENDER
from ops.lab.scenarios import named
from ops.lab.world import Lab
from ops.report.questions import ask
from ops.report.reading import reading
from pipeline.embedded import socket_path
from pipeline.store.ledger import Ledger
from stages.message import MessageId, State
from tests.needs import free_port, redis_server
from tests.ops.conftest import Run


def _ids(log: Path) -> set[str]:
    """Name the messages and reports that the log tells of."""
    kinds = {"message.accepted", "bounce.sent"}
    events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return {event.get("notice") or event["message"] for event in events if event["event"] in kinds}


async def _states(directory: Path, ids: set[str]) -> tuple[Counter[State], set[str]]:
    """Ask the ledger in which states recipients are, of mail and of reports, and which messages wait."""
    client = Redis(unix_socket_path=str(socket_path(directory)))
    states: Counter[State] = Counter()
    waiting = set()
    try:
        for name in ids:
            stored = await Ledger(client).stored(MessageId(name))
            assert stored is not None
            states.update(recipient.state for recipient in stored.message.recipients)
            if stored.open:
                waiting.add(name)
    finally:
        await client.aclose()
    return states, waiting


async def test_the_report_of_a_run_is_what_hosts_and_ledger_say(cli: Run, tmp_path: Path) -> None:
    """DANE-32: of the demonstration's mail each recipient counts once, with the security that its host saw."""
    del cli  # for an environment without variables of ours
    redis_server()
    chosen = with_sender(
        named("ee-311", "mismatch", "clear", "reply-5xx", "broken-ds", "excluded", "insecure-mx", "null-mx")
    )
    log, port = tmp_path / "danepipe.log", free_port()
    async with Lab.open(tmp_path / "lab", chosen, possible()) as lab:
        config = lab.write_config(
            tmp_path / "danepipe.toml",
            more={
                "listen": {"smtp": f"127.0.0.1:{port}"},
                "store": {"dir": str(tmp_path / "var")},
                "log": {"file": str(log)},
            },
        )
        async with danepipe_up(config, port):
            await send(port, chosen)
            rows = await watch(lab, Fates(log), chosen, 60)
            assert all(row.agrees for row in rows)
            states, waiting = await _states(tmp_path / "var", _ids(log))
        received = Counter(
            (bool(message.tls), recipient) for message in lab.inbox.messages for recipient in message.recipients
        )
        reported = len(lab.received(SENDER))
    with reading([str(log)], sys.stdin.buffer, FIRST, LAST) as read:
        report = ask(read, "domain")
    totals = {str(what): count for what, count in report.section("totals").rows}
    security = {str(level): int(str(count)) for level, count, _ in report.section("security").rows}
    assert totals["recipients accepted"] == len(rows)
    assert totals["recipients delivered"] == states[State.DELIVERED] == received.total()
    assert totals["recipients refused"] == states[State.FAILED]
    assert totals["reports sent"] == reported - 1  # one message of the lab's own goes to the sender
    assert set(report.section("waiting").column("message")) == waiting
    assert security.get("clear", 0) == sum(count for (tls, _), count in received.items() if not tls)
    by_domain = dict(zip(report.section("by_domain").column("domain"), report.section("by_domain").rows, strict=True))
    for row in rows:
        delivered, dane = by_domain[row.scenario.domain][1:3]
        received_there = [name for (_, name) in received.elements() if name.endswith(f"@{row.scenario.domain}")]
        assert delivered == len(received_there)
        if row.scenario.domain != SENDER:  # where reports go as well
            here = [one.expected.tls for one in rows if one.scenario is row.scenario]
            assert dane == here.count("dane")
