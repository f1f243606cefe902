"""Who may do what: bearer tokens (RFC 6750) with scopes, and patience with those who guess.

A request without a token that counts hears 401, with one whose scopes do not reach 403. After `GUESSES` wrong tokens
within a minute the peer hears 429 until the minute is over; right tokens are heard all the same, since many clients may
share an address, and 256 random bits are not guessed. Raises `Problem` and `StoreUnavailable`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request

from ops.api.problem import Problem
from pipeline.store.tokens import Token, TokenStore

SCOPES = {
    "send": "bring mail",
    "read": "see the state of messages",
    "queue": "hold, release, retry, bounce, drop, suspend and resume mail",
    "explain": "ask what would become of mail",
    "exclude": "see and change whom DANE does not apply to",
    "admin": "all of these",
}
GUESSES = 10
WINDOW = 60.0  # seconds
MOST_PEERS = 10_000  # that are remembered: bounds memory when many guess
_LONGEST = 200  # octets of a secret; ours have 52


class Guard:
    """Knows tokens, and remembers wrong ones by the peer."""

    def __init__(
        self, tokens: TokenStore, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._now = now
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def token(self, request: Request) -> Token:
        """Give the token of a request."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or not secret:
            raise _unknown("no token was given: send Authorization: Bearer TOKEN", "")
        token = await self._tokens.of(secret) if len(secret) <= _LONGEST and secret.isascii() else None
        if token is None or not token.is_live(self._now()):
            self._count(request.client.host if request.client else "")
            raise _unknown("this token is not known, was revoked, or has expired", ', error="invalid_token"')
        return token

    def _count(self, peer: str) -> None:
        now = self._clock()
        since, count = self._wrong.pop(peer, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        self._wrong[peer] = (since, count + 1)
        if len(self._wrong) > MOST_PEERS:
            self._wrong.popitem(last=False)
        if count >= GUESSES:
            wait = str(int(since + WINDOW - now) + 1)
            raise Problem(429, "too many wrong tokens came from this address", headers={"Retry-After": wait})


def check(token: Token, scope: str) -> None:
    """Refuse a token that may not do what needs the scope."""
    if scope not in token.scopes and "admin" not in token.scopes:
        challenge = f'Bearer realm="danepipe", error="insufficient_scope", scope="{scope}"'
        detail = f"the token {token.name} has not the scope {scope} that this needs"
        raise Problem(403, detail, headers={"WWW-Authenticate": challenge})


def _unknown(detail: str, error: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": f'Bearer realm="danepipe"{error}'})
