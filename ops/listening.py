"""The socket of an HTTP server of ours, opened before anything is served on it.

`up` opens those of the HTTP API and the web console, to see that they will do, and serves on none. Raises `ServerError`
for an address or a certificate that cannot be used.
"""

import socket
import ssl

from pipeline.served import Served


class ServerError(Exception):
    """The server cannot start; the text names the key, the address or file, and the cause."""


class TakenError(ServerError):
    """Its address cannot be listened on."""


def listening(settings: Served, section: str) -> socket.socket:
    """Open the socket, and look whether the certificate can be used. Raises `ServerError` naming the section."""
    if settings.certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate, settings.key)
        except OSError as error:  # SSLError is one
            raise ServerError(
                f"{section}: {settings.certificate} and {settings.key} are no certificate with its key: {error}"
            ) from error
    address, port = settings.place
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address, port))
        opened.listen()  # two that are bound may not both listen
    except OSError as error:
        opened.close()
        raise TakenError(f"{section}.listen: cannot listen on {address}:{port}: {error.strerror or error}") from error
    return opened
