"""What the sections of our HTTP servers share: where one listens, its certificate, its proxies, and its bounds."""

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from pipeline.settings import Section
from pipeline.values import OFF, Duration, Networks, Positive


class Served(Section):
    """A section of an HTTP server. What travels to it beyond loopback (tokens, passwords) must not be in clear text."""

    usual: ClassVar[str]  # where it listens when `listen` names no place
    secrets: ClassVar[str]  # what would travel in clear text

    listen: str | None = None
    certificate: Path | None = Field(None, description="certificate chain (PEM) for HTTPS")
    key: Path | None = Field(None, description="private key (PEM) of the certificate")
    trust_proxy: Networks = Field(
        (), description="networks of proxies that end TLS, and whose X-Forwarded-For is believed"
    )
    timeout: Duration = Field(
        timedelta(seconds=30), ge=timedelta(milliseconds=1), description="longest time for a request to arrive"
    )
    max_connections: Positive = Field(100, description="most connections at a time")

    @property
    def place(self) -> tuple[str, int]:
        """Give address and port to listen on."""
        listen = self.usual if self.listen in {None, OFF} else str(self.listen)
        address, _, port = listen.rpartition(":")
        return address.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """Give the address as a browser takes it."""
        address, port = self.place
        host = f"[{address}]" if ":" in address else address
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}"

    @property
    def beyond_loopback(self) -> bool:
        """Tell whether others than this machine can reach it."""
        return not ipaddress.ip_address(self.place[0]).is_loopback

    @model_validator(mode="after")
    def _private(self) -> "Served":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        if self.beyond_loopback and self.certificate is None and not self.trust_proxy:
            raise ValueError(
                f"listen is {self.listen!r}, where {self.secrets} would travel in clear text: set certificate and key, "
                "or name the proxy that ends TLS in trust_proxy"
            )
        return self
