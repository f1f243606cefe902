"""The users of the web console, their logins, and the patience with those who guess passwords.

`dp:users` holds each user by the name, `dp:session:<digest>` a login until it ends. A login holds the stamp of the
password that it was made with, so that another password, or the end of the user, ends all logins at once. Passwords
and the secrets of logins are kept nowhere, only what knows them again. Raises `StoreUnavailable`.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors

_LUA = Path(__file__).parent / "lua" / "users"
FREE = 5  # wrong passwords before there is a pause
REMEMBERED = timedelta(hours=1)  # after which wrong passwords are forgotten


class Role(StrEnum):
    """What a user may do: only look, or act as well."""

    READ = "read"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in. `password` is its argon2 hash, `stamp` another one for each password."""

    name: str
    role: Role
    password: str
    added: datetime
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class _Login:
    name: str
    stamp: str


def new_secret() -> str:
    """Make what a browser is known by: 256 random bits."""
    return secrets.token_urlsafe(32)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class UserStore:
    """All users and logins."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = prefix
        self._users = f"{prefix}users"
        self._knock = redis.register_script((_LUA / "knock.lua").read_bytes())

    def _session(self, secret: str) -> str:
        return f"{self._prefix}session:{_digest(secret)}"

    def _doors(self, name: str, peer: str) -> list[str]:
        return [f"{self._prefix}guesses:{kind}:{_digest(word)}" for kind, word in (("user", name), ("peer", peer))]

    # Users

    async def add(self, user: User) -> bool:
        """Keep a new user; returns False if there is one of that name."""
        with store_errors():
            return bool(await self._redis.hsetnx(self._users, user.name, encode(User, user)))

    async def put(self, user: User) -> None:
        """Keep a user in place of the one of that name."""
        with store_errors():
            await self._redis.hset(self._users, user.name, encode(User, user))

    async def remove(self, name: str) -> bool:
        """Drop a user and all its logins; returns False if there is none of that name."""
        with store_errors():
            return bool(await self._redis.hdel(self._users, name))

    async def of(self, name: str) -> User | None:
        """Give a user; None if there is none of that name."""
        with store_errors():
            row = await self._redis.hget(self._users, name)
        return None if row is None else decode(User, row)

    async def entries(self) -> tuple[User, ...]:
        """List the users in the order of their names."""
        with store_errors():
            rows = await self._redis.hvals(self._users)
        return tuple(sorted((decode(User, row) for row in rows), key=lambda user: user.name))

    # Logins

    async def begin(self, user: User, lifetime: timedelta) -> str:
        """Begin a login; gives the secret that the browser is known by."""
        secret = new_secret()
        with store_errors():
            kept = encode(_Login, _Login(user.name, user.stamp))
            await self._redis.set(self._session(secret), kept, px=max(1, int(lifetime.total_seconds() * 1000)))
        return secret

    async def end(self, secret: str) -> None:
        """End a login."""
        with store_errors():
            await self._redis.delete(self._session(secret))

    async def visitor(self, secret: str) -> tuple[bool, User | None]:
        """Tell whether there are users at all, and which of them a browser's secret stands for."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hlen(self._users)
                pipe.get(self._session(secret))
                count, row = await pipe.execute()
        if row is None:
            return bool(count), None
        login = decode(_Login, row)
        user = await self.of(login.name)
        return bool(count), user if user is not None and user.stamp == login.stamp else None

    # Patience

    async def knock(self, name: str, peer: str) -> timedelta:
        """Ask whether a password may be tried now, and count the try; gives how long to wait, nothing if it may.

        Counted before it is tried, so that many at once are no way round. The pause grows with each, up to a minute
        for a user (whom others could lock out otherwise), and a quarter of an hour for an address.
        """
        user, address = self._doors(name, peer)
        keep = int(REMEMBERED.total_seconds() * 1000)
        with store_errors():
            return timedelta(
                milliseconds=int(await self._knock(keys=[user, address], args=[FREE, keep, 60_000, 900_000]))
            )

    async def welcome(self, name: str, peer: str) -> None:
        """Forget the tries: the password was right."""
        with store_errors():
            await self._redis.delete(*self._doors(name, peer))
