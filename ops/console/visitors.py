"""Who asks: a user who has logged in, or, where there are none, whoever sits at this machine.

Each browser is known by a random secret in a cookie, a new one with each login. The token of forms is made of it, so
that a form of another site, which cannot read the cookie, has none. Raises `StoreUnavailable`.
"""

import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from pipeline.console import Console
from pipeline.store.users import Role, UserStore, new_secret

NOBODY = "console"  # what events call whoever sits at this machine, where there are no users
_LONGEST = 100  # characters of a secret; ours have 43


@dataclass(frozen=True, slots=True)
class Visitor:
    """One browser. `name` is empty before a login; `is_user` tells whether it can log out."""

    secret: str
    name: str = ""
    role: Role = Role.READ
    is_user: bool = False
    is_new: bool = False

    @property
    def may_act(self) -> bool:
        """Tell whether it may change anything."""
        return bool(self.name) and self.role is Role.ACT

    @property
    def token(self) -> str:
        """Give the token of its forms."""
        return hashlib.sha256(f"form {self.secret}".encode()).hexdigest()

    def owns(self, token: str) -> bool:
        """Tell whether a form was made for it."""
        return hmac.compare_digest(self.token.encode(), token.encode("utf-8", "replace"))


def _cookie(request: Request) -> str:
    """Name the cookie: over TLS no other host and no plain connection can set it (the prefix demands that)."""
    return "__Host-danepipe" if request.url.scheme == "https" else "danepipe"


async def visitor_of(request: Request, users: UserStore, settings: Console) -> Visitor:
    """Find out who asks."""
    secret = request.cookies.get(_cookie(request), "")
    known = bool(secret) and len(secret) <= _LONGEST and secret.isascii()
    secret = secret if known else new_secret()
    there_are_users, user = await users.visitor(secret)
    if user is not None:
        return Visitor(secret, user.name, user.role, is_user=True)
    if there_are_users or settings.needs_users:
        return Visitor(secret, is_new=not known)
    return Visitor(secret, NOBODY, Role.ACT, is_new=not known)


def remember(request: Request, response: Response, secret: str) -> None:
    """Let the browser be known by the secret, until it is closed.

    It comes along where another site links to a page (`lax`), which changes nothing. If it did not, that page would
    give the browser another secret, which ends the login.
    """
    response.set_cookie(
        _cookie(request), secret, httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )  # fmt: skip
