"""The octets of a message as they are kept: compressed with Zstandard (RFC 8878) where that makes them smaller.

Text takes two fifths of its octets and an attachment in base64 three quarters, in Redis, in its file and in memory of
workers, for 10 to 20 microseconds of 10 KB. What is kept begins with a NUL and a letter for what follows, unless it is
the content as it came: that begins with no NUL, or is marked too. A frame has a checksum, so damage is found.
"""

import asyncio
import threading

import zstandard

PACKED, PLAIN = b"\0z", b"\0p"
LEVEL = 1  # 3 takes a quarter more time and saves a fiftieth
WORTH = 16  # a sixteenth of the octets at least: encrypted and compressed content is kept as it came
LONG = 262_144  # octets of content beyond which a thread compresses and expands, as a loop would stand still


class Damaged(ValueError):  # noqa: N818 - a state of the world, not a fault in the program
    """What is kept is not what was given to be kept."""


class _Tools(threading.local):
    """What compresses and expands, one pair a thread: they may not be shared, and cost more than a small content."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True).compress
        self.expand = zstandard.ZstdDecompressor().decompress


_tools = _Tools()


def pack(content: bytes) -> bytes:
    """Make what is to be kept of some content."""
    frame = _tools.compress(content)
    if len(frame) + len(PACKED) <= len(content) - len(content) // WORTH:
        return PACKED + frame
    return PLAIN + content if content.startswith(b"\0") else content


def unpack(kept: bytes) -> bytes:
    """Give the content of what was kept. Raises `Damaged`."""
    mark = kept[:2]
    if not mark.startswith(b"\0"):
        return kept
    if mark == PLAIN:
        return kept[2:]
    if mark != PACKED:
        raise Damaged(f"it begins with {mark!r}, which this version does not write")
    try:
        return _tools.expand(kept[2:])
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damaged(str(error)) from error


async def packed(content: bytes) -> bytes:
    """Do as `pack`, without holding up the event loop."""
    return await asyncio.to_thread(pack, content) if len(content) > LONG else pack(content)


async def unpacked(kept: bytes, size: int) -> bytes:
    """Do as `unpack`, without holding up the event loop; `size` in octets is that of the content. Raises `Damaged`."""
    return await asyncio.to_thread(unpack, kept) if size > LONG else unpack(kept)
