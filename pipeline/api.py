"""The settings of the HTTP API: where it listens, for whom, and its bounds.

Beyond loopback a token must not travel in clear text: there `certificate` is set, or `trust_proxy` names the proxy that
ends TLS. The largest message and the most recipients are those of `[listen]`.
"""

import ipaddress
from datetime import timedelta
from pathlib import Path

from pydantic import Field, model_validator

from pipeline.settings import Section
from pipeline.values import Duration, Endpoint, Networks, Positive


class Api(Section):
    """`[api]`: the HTTP API."""

    listen: Endpoint | None = Field(
        None, description="address and port of the HTTP API; not set: `up` runs none, and `api` takes 127.0.0.1:2580"
    )
    certificate: Path | None = Field(None, description="certificate chain (PEM) for HTTPS")
    key: Path | None = Field(None, description="private key (PEM) of the certificate")
    trust_proxy: Networks = Field(
        (), description="networks of proxies that end TLS, and whose X-Forwarded-For is believed"
    )
    timeout: Duration = Field(
        timedelta(seconds=30), ge=timedelta(milliseconds=1), description="longest time for a request to arrive"
    )
    max_connections: Positive = Field(100, description="most connections at a time")
    max_batch: Positive = Field(100, description="most messages of one request")

    @property
    def place(self) -> tuple[str, int]:
        """Give address and port to listen on."""
        address, _, port = (self.listen or "127.0.0.1:2580").rpartition(":")
        return address.strip("[]"), int(port)

    @property
    def beyond_loopback(self) -> bool:
        """Tell whether others than this machine can reach it."""
        return not ipaddress.ip_address(self.place[0]).is_loopback

    @model_validator(mode="after")
    def _private(self) -> "Api":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        if self.beyond_loopback and self.certificate is None and not self.trust_proxy:
            raise ValueError(
                f"listen is {self.listen!r}, where tokens would travel in clear text: set certificate and key, or "
                "name the proxy that ends TLS in trust_proxy"
            )
        return self
