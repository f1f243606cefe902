"""The tokens of the HTTP API: names, scopes and digests; the secrets themselves are kept nowhere.

A secret has 256 random bits, so that its SHA-256 is all that is needed to know it again, and tells nothing of it.
`dp:tokens` holds each token by its digest, `dp:token-names` the digest by the name. Raises `StoreUnavailable`.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors

PREFIX = "danepipe_"  # so that scanners for leaked secrets can know one


@dataclass(frozen=True, slots=True)
class Token:
    """Who may do what, since when and until when."""

    name: str
    scopes: tuple[str, ...]
    added: datetime
    expires: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Tell whether it still counts."""
        return self.expires is None or now < self.expires


def new_secret() -> str:
    """Make a secret."""
    return PREFIX + secrets.token_urlsafe(32)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenStore:
    """All tokens."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._tokens = f"{prefix}tokens"
        self._names = f"{prefix}token-names"

    async def add(self, token: Token, secret: str) -> bool:
        """Keep a token; returns False if there is one of that name."""
        digest = _digest(secret)
        with store_errors():
            if not await self._redis.hsetnx(self._names, token.name, digest):
                return False
            await self._redis.hset(self._tokens, digest, encode(Token, token))
        return True

    async def revoke(self, name: str) -> bool:
        """Drop a token, for every request from now on; returns False if there is none of that name."""
        with store_errors():
            digest = await self._redis.hget(self._names, name)
            if digest is None:
                return False
            async with self._redis.pipeline() as pipe:
                pipe.hdel(self._tokens, digest)
                pipe.hdel(self._names, name)
                await pipe.execute()
        return True

    async def of(self, secret: str) -> Token | None:
        """Give the token of a secret; None if there is none."""
        with store_errors():
            row = await self._redis.hget(self._tokens, _digest(secret))
        return None if row is None else decode(Token, row)

    async def entries(self) -> tuple[Token, ...]:
        """List the tokens in the order of their names, expired ones included."""
        with store_errors():
            rows = await self._redis.hvals(self._tokens)
        return tuple(sorted((decode(Token, row) for row in rows), key=lambda token: token.name))
