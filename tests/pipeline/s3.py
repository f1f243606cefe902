"""An S3 service for tests: moto's server, a program of its own, spoken to over HTTP on loopback."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.needs import free_port

BUCKET = "mail"


def settings(port: int) -> Mapping[str, str]:
    """Give the variables by which a client finds the service."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def s3_service() -> Iterator[int]:
    """Run the service with one empty bucket; gives its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("PUT", f"/{BUCKET}")
                assert connection.getresponse().status == 200
                break
            except ConnectionRefusedError:
                assert process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.05)
            finally:
                connection.close()
        yield port
    finally:
        process.terminate()
        process.wait()
