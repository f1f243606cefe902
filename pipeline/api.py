"""The settings of the HTTP API: where it listens, for whom, and its bounds.

Beyond loopback a token must not travel in clear text: there `certificate` is set, or `trust_proxy` names the proxy that
ends TLS. The largest message and the most recipients are those of `[listen]`.
"""

from typing import ClassVar

from pydantic import Field

from pipeline.served import Served
from pipeline.values import Endpoint, Positive


class Api(Served):
    """`[api]`: the HTTP API."""

    usual: ClassVar[str] = "127.0.0.1:2580"
    secrets: ClassVar[str] = "tokens"

    listen: Endpoint | None = Field(
        None, description="address and port of the HTTP API; not set: `up` runs none, and `api` takes 127.0.0.1:2580"
    )
    max_batch: Positive = Field(100, description="most messages of one request")
