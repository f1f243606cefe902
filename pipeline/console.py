"""The settings of the web console: where it listens, under which names, and how long a login lasts.

Who reaches it over loopback alone needs no user. As soon as others may reach it (an address beyond loopback, a proxy, a
name) there must be one, and passwords must not travel in clear text.
"""

import ipaddress
from datetime import timedelta
from typing import ClassVar

from pydantic import Field, model_validator

from pipeline.served import Served
from pipeline.values import OFF, Domains, Duration, EndpointOrOff


class Console(Served):
    """`[console]`: the web console."""

    usual: ClassVar[str] = "127.0.0.1:8025"
    secrets: ClassVar[str] = "passwords"

    listen: EndpointOrOff = Field(usual, description="address and port of the web console; `off`: `up` has none")
    names: Domains = Field((), description="host names under which browsers reach it, besides localhost")
    session: Duration = Field(timedelta(hours=12), ge=timedelta(minutes=1), description="time after which a login ends")
    idle: Duration = Field(
        timedelta(minutes=15),
        ge=timedelta(seconds=1),
        description="time without a request after which `up` ends the process of the console, until the next one",
    )

    @property
    def is_on(self) -> bool:
        """Tell whether `up` has one."""
        return self.listen != OFF

    @property
    def needs_users(self) -> bool:
        """Tell whether others than people at this machine may reach it."""
        return self.beyond_loopback or bool(self.trust_proxy) or bool(self.names)

    @model_validator(mode="after")
    def _named(self) -> "Console":
        if ipaddress.ip_address(self.place[0]).is_unspecified and not self.names:
            raise ValueError(
                f"listen is {self.listen!r}, which is every address: say in names under which host names browsers "
                "reach it, since it answers under no other"
            )
        return self
