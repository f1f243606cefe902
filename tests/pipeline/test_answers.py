"""The DNS answers that workers share in Redis: kept for their lifetime, and thrown away when their source was wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.store.answers import SharedAnswers
from stages.answer import Found, Question, Security
from stages.records import MX


def _answer(name: str, life: timedelta) -> Found:
    question = Question(name, "MX")
    record = MX(10, f"mx.{name}")
    return Found(question, Security.SECURE, (record,), name, (), datetime.now(UTC) + life, "127.0.0.1@53")


async def test_answers_come_back_equal_until_they_expire(redis: Any) -> None:
    """DANE-108 (RFC 4035 5.3.3): an answer is shared with its security and its end of life, and not beyond that."""
    shared = SharedAnswers(redis)
    kept, over = _answer("kept.example", timedelta(minutes=1)), _answer("over.example", timedelta(seconds=-1))
    await shared.put(kept)
    await shared.put(over)
    assert await shared.get(kept.question) == kept
    assert await shared.get(over.question) is None
    assert 0 < await redis.pttl("dp:dns:kept.example/MX") <= 60_000


async def test_all_answers_can_be_thrown_away(redis: Any) -> None:
    """What a resolver said before it failed its self-test is gone for all workers; nothing else in Redis is touched."""
    shared = SharedAnswers(redis)
    answers = [_answer(f"d{number}.example", timedelta(minutes=1)) for number in range(2500)]
    for answer in answers:
        await shared.put(answer)
    await redis.set("dp:msg:M1", "mail")
    await shared.clear()
    assert await shared.get(answers[0].question) is None
    assert await redis.keys("*") == [b"dp:msg:M1"]
