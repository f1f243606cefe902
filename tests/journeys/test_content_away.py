"""The place of content goes away in the middle, and bodies are lost: mail waits or is held, and none is lost or bounced."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from pipeline.clock import Clock
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from pipeline.store.changes import Stored
from pipeline.store.connection import StoreUnavailable
from pipeline.store.packing import PACKED
from pipeline.worker import Workers, WorkSettings
from stages.message import MessageId, State
from tests.journeys.test_kill import Sink, settled, until, write_config
from tests.journeys.test_redis_away import mail
from tests.needs import free_port, redis_server


class BusySink(Sink):
    """A mail host that puts recipients off until it has time."""

    busy = True

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a recipient, or put it off."""
        if self.busy:
            return "450 4.2.0 later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 taken"


def _events(path: Path, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in events if event["event"] == kind]


async def _until(spine: Spine, message: MessageId, state: State) -> Stored:
    async with asyncio.timeout(30):
        while True:
            stored = await spine.ledger.stored(message)
            if stored is not None and stored.message.recipients[0].state is state:
                return stored
            await asyncio.sleep(0.1)


async def _retry(spine: Spine, messages: list[MessageId]) -> None:
    for message in messages:
        stored = await spine.ledger.stored(message)
        assert stored is not None
        assert await spine.ledger.move(stored.message.recipients[0], "route", utc_now()) == "moved"
    await spine.nudge([spine.line.first.name])


async def test_mail_waits_for_its_content(tmp_path: Path) -> None:
    """SMTP-50, SUB-30: an unmounted place is 451 at the door and delays mail; a lost or damaged body holds its own alone."""
    redis_server()
    sink, port = BusySink(), free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    place, elsewhere = tmp_path / "content", tmp_path / "elsewhere"
    path = write_config(tmp_path, port, place.as_uri())
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    workers = Workers(WorkSettings(processes=1, threads=4, config=path))
    await workers.start()
    try:
        async with Spine.open(load(path, {})) as spine:
            sent = [await spine.submit(mail(subject)) for subject in ("waits", "is lost", "is damaged")]
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            for message in sent:
                await _until(spine, message, State.DEFERRED)
            sink.busy = False
            _move(place, elsewhere)
            with pytest.raises(StoreUnavailable):
                await spine.submit(mail("refused"))
            await _retry(spine, sent)
            await until(lambda: _events(tmp_path / "log.jsonl", "redis.unavailable"), 30)
            _move(elsewhere, place)
            lost, damaged = [_take(place, one, tmp_path / f"kept-{one}") for one in sent[1:]]
            damaged.write_bytes(PACKED + b"no frame")
            await until(lambda: "waits" in sink.taken, 60)
            for message in sent[1:]:
                held = await _until(spine, message, State.HELD)
                assert held.message.recipients[0].reason is not None
                assert held.message.recipients[0].reason.code == "queue.content_gone"
            for message, body in zip(sent[1:], (lost, damaged), strict=True):
                (tmp_path / f"kept-{message}").rename(body)
            await _retry(spine, sent[1:])
            await until(lambda: {"is lost", "is damaged"} <= set(sink.taken), 60)
            assert await settled(spine) == 0
            stop.set()
            await clock
    finally:
        await workers.stop()
        await redis.stop()
        controller.stop()
    assert dict(sink.taken) == {"waits": 1, "is lost": 1, "is damaged": 1}
    assert sorted(event["message"] for event in _events(tmp_path / "log.jsonl", "body.gone")) == sorted(sent[1:])


def _move(place: Path, elsewhere: Path) -> None:
    """Put the directory elsewhere, which is all that unmounting it shows."""
    place.rename(elsewhere)


def _take(place: Path, message: MessageId, kept: Path) -> Path:
    (body,) = place.glob(f"*/{message}.*")
    body.rename(kept)
    return body
