"""danepipe as it is measured: `danepipe up` with its defaults, as the README starts it.

What the configuration says is only where it is: no name of a setting that makes it faster. Mail is durable before its
250, as everywhere (`appendfsync always`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import tomlkit

from ops.bench.peer.resolver import ADDRESS, PORT
from ops.bench.peer.zones import BOGUS
from ops.lab.demo import danepipe_up

NAME = "danepipe"


@asynccontextmanager
async def up(directory: Path, port: int, anchor: str) -> AsyncIterator[int]:
    """Run it in a directory until the block ends; gives its process id. Raises `DemoError`."""
    (directory / "anchor").write_text(f"{anchor}\n", encoding="ascii")
    settings = {
        "hostname": "out.bench",
        "listen": {"smtp": f"127.0.0.1:{port}"},
        "store": {"dir": str(directory / "var")},
        "log": {"file": str(directory / "log")},
        "dns": {
            "servers": [f"{ADDRESS}@{PORT}"],
            "anchor_file": str(directory / "anchor"),
            "canary_bogus": [f"{BOGUS}/SOA"],
        },
        "smtp": {"allow_private": True},
    }
    config = directory / "danepipe.toml"
    config.write_text(tomlkit.dumps(settings), encoding="utf-8")
    async with danepipe_up(config, port) as pid:
        yield pid


def verified(directory: Path) -> int:
    """Count deliveries over connections that DANE verified, by the log."""
    with (directory / "log").open("rb") as log:
        events = (orjson.loads(line) for line in log if b'"stage.verdict"' in line and b'"smtp.accepted"' in line)
        return sum(len(event["recipients"]) for event in events if event["facts"].get("security") == "dane")
