"""The listener processes of one port: their settings, the look at the port before they start, and what keeps them.

Several processes may listen on one port (`listen.processes`): the system spreads the connections among them, and one
that dies is started again while the others take mail.
"""

import asyncio
import ipaddress
import socket

from ops.cli.run import Fault, command_of
from ops.supervise import Keeper
from pipeline.accept.smtp import ListenerError, ListenerSettings, tls_context
from pipeline.config import Config

GRACE = 10.0  # seconds for a listener to end


def listener_settings(config: Config) -> ListenerSettings:
    """Make the settings of the listener."""
    listen = config.listen
    address, _, port = listen.smtp.rpartition(":")
    return ListenerSettings(
        address=address.strip("[]"),
        port=int(port),
        hostname=config.hostname,
        max_size=listen.max_size,
        max_recipients=listen.max_recipients,
        allow=tuple(ipaddress.ip_network(network) for network in listen.allow),
        certificate=listen.certificate,
        key=listen.key,
        timeout=listen.timeout,
        max_connections=listen.max_connections,
    )


def check_listener(config: Config, processes: int) -> None:
    """Find out now what would end the listeners later. Raises `Fault`."""
    settings = listener_settings(config)
    try:
        tls_context(settings)
    except ListenerError as error:
        raise Fault(str(error)) from error
    if processes > 1 and settings.port == 0:
        raise Fault(
            f"listen.smtp ({config.origin('listen.smtp')}): port 0 is another one for each of {processes} processes: "
            "name the port that they share"
        )
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    with socket.socket(family) as probe:
        # without SO_REUSEPORT: so it also finds listeners that would share the port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.address, settings.port))
        except OSError as error:
            raise Fault(
                f"listen.smtp ({config.origin('listen.smtp')}): cannot listen on {config.listen.smtp}: "
                f"{(error.strerror or str(error)).lower()}; end what listens there, or name another port"
            ) from error


class Listeners:
    """Keeps so many listener processes on the configured port from `start` to `stop`."""

    def __init__(self, config: Config, processes: int) -> None:
        shared = ["--share-port"] if processes > 1 else []
        command, environ = command_of(config, "accept", "--processes", "1", *shared)
        self._keepers = [Keeper("accept", command, environ) for _ in range(processes)]

    def start(self) -> None:
        """Start them all."""
        for keeper in self._keepers:
            keeper.start()

    async def stop(self) -> None:
        """Ask all to end, and kill those that have not after the grace period."""
        await asyncio.gather(*(keeper.stop(GRACE) for keeper in self._keepers))

    def kill(self) -> None:
        """End them at once."""
        for keeper in self._keepers:
            keeper.kill()
