"""Passwords of the web console: hashed with argon2id (RFC 9106), and tried without keeping the event loop busy.

A try takes tens of milliseconds and 64 MiB; at most two run at a time. For a name that is no user's the same work is
done, so that the time it takes tells nothing.
"""

import asyncio
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

SHORTEST = 10  # characters
LONGEST = 1000
_hasher = PasswordHasher()
_seats = asyncio.Semaphore(2)


def hashed(password: str) -> str:
    """Hash a password."""
    return _hasher.hash(password)


@cache
def _dummy() -> str:
    return hashed("no password")


def _right(known: str | None, password: str) -> bool:
    try:
        return _hasher.verify(known or _dummy(), password) and known is not None
    except (VerifyMismatchError, InvalidHashError):
        return False


async def is_right(known: str | None, password: str) -> bool:
    """Tell whether a password is the one that was hashed; `known` is None for a name that is no user's."""
    async with _seats:
        return await asyncio.to_thread(_right, known, password[:LONGEST])
