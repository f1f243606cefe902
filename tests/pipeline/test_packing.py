"""What is kept of the octets of a message: smaller where that can be, and never other octets."""

import base64
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.content import ContentGone
from pipeline.store.ledger import Ledger
from pipeline.store.packing import LONG, PACKED, PLAIN, Damaged, pack, packed, unpack, unpacked
from tests.pipeline.test_ledger import message

TEXT = b"".join(
    b"Line %d of a text of the ordinary kind, as people and programs write them.\r\n" % n for n in range(130)
)
LEASE = timedelta(minutes=1)
PIECES = st.lists(st.binary(max_size=40) | st.sampled_from([b"\0", PACKED, PLAIN, TEXT[:90]]), max_size=40)


@given(PIECES)
def test_what_was_kept_comes_back(pieces: list[bytes]) -> None:
    """SMTP-50: whatever octets a message has, NULs and our own marks at its head among them, they come back."""
    content = b"".join(pieces)
    kept = pack(content)
    assert unpack(kept) == content
    assert len(kept) <= len(content) + len(PLAIN)


@given(st.binary(max_size=200))
def test_what_other_versions_kept_comes_back(content: bytes) -> None:
    """Content that was kept before anything was marked is read as it is, for no mail begins with a NUL."""
    if not content.startswith(b"\0"):
        assert unpack(content) == content


def test_what_packing_saves() -> None:
    """Text and base64 are kept in fewer octets; what does not get smaller is kept as it came, at no cost to a reader."""
    noise = random.Random(7).randbytes(7500)
    attached = base64.encodebytes(noise)
    assert pack(TEXT).startswith(PACKED)
    assert len(pack(TEXT)) < len(TEXT) / 3
    assert len(pack(attached)) < len(attached) * 0.8
    assert pack(noise) == noise


@pytest.mark.parametrize("fault", ["octet", "end", "mark", "head"])
def test_damage_is_found(fault: str) -> None:
    """A frame that is cut short, altered or none at all is `Damaged`, and never given out as mail (RFC 8878, 3.1.1)."""
    kept = bytearray(pack(TEXT))
    if fault == "octet":
        kept[len(kept) // 2] ^= 1
    elif fault == "end":
        del kept[-8:]
    elif fault == "mark":
        kept[1] ^= 1
    else:
        kept[2:6] = b"none"
    with pytest.raises(Damaged):
        unpack(bytes(kept))


async def test_large_content_comes_back() -> None:
    """What is too long to be packed on the event loop goes by a thread, and is the same."""
    large = TEXT * (LONG // len(TEXT) + 2)
    kept = await packed(large)
    assert kept.startswith(PACKED)
    assert await unpacked(kept, len(large)) == large


async def test_the_ledger_keeps_less_than_it_gives(redis: Any) -> None:
    """Redis holds the packed content, `take` brings it as it is kept, and what is delivered is what came."""
    ledger = Ledger(redis)
    await ledger.accept(message(), TEXT)
    assert await redis.strlen("dp:body:M1") < len(TEXT) / 3
    (_, row), = (await ledger.take("place:route", "t", 1, LEASE, bring="mail")).groups  # fmt: skip
    assert row[0] == pack(TEXT)
    assert await ledger.content(message(), row[0]) == TEXT
    assert await ledger.content(message()) == TEXT


async def test_damaged_content_is_lost_content(redis: Any) -> None:
    """Mail whose kept content is damaged waits for an operator, who is told what is amiss and where."""
    ledger = Ledger(redis)
    await ledger.accept(message(), TEXT)
    await redis.setrange("dp:body:M1", 20, "other octets")
    with pytest.raises(ContentGone, match=r"the content of message M1 in Redis is damaged \(.*\)"):
        await ledger.content(message())
