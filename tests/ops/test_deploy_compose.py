"""The compose file is right, and its Redis safe.

No container engine runs here. What one would make of the file is asked of docker-compose; danepipe reads the very
environment of each of its services, and a real Redis the very command of its own.
"""

import asyncio
import ipaddress
import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pipeline.config import Config, load
from pipeline.store.connection import check_safety
from pipeline.values import parse_duration
from tests.needs import program, redis_server
from tests.ops.command_line import PATIENCE, parses

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "ops/deploy"


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give the compose file as an engine sees it: merged, with variables replaced, checked against its schema."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DANEPIPE_", "COMPOSE_"))}
    unset = tmp_path_factory.mktemp("compose") / "env"  # in place of an .env that lies about
    unset.touch()
    result = subprocess.run(
        [program("docker-compose"), "--env-file", str(unset), "--file", "docker-compose.yml", "config"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    made: dict[str, Any] = yaml.safe_load(result.stdout)
    return made


@pytest.fixture
def services(compose: dict[str, Any]) -> dict[str, Any]:
    """Give the services that run danepipe."""
    return {name: one for name, one in compose["services"].items() if one["image"] == "danepipe"}


def _configuration(service: Mapping[str, Any], tmp_path: Path) -> Config:
    """Load what a service of the compose file has: its environment, and no file."""
    empty = tmp_path / "empty.toml"
    empty.touch()
    return load(empty, service["environment"])


def test_compose_has_every_part(compose: dict[str, Any], services: dict[str, Any]) -> None:
    """Redis, a resolver, accept, clock and two kinds of worker run; the stages have a worker for each of them."""
    assert set(compose["services"]) - set(services) == {"redis", "unbound"}
    commands = sorted(service["command"][0] for service in services.values())
    assert commands == ["accept", "clock", "work", "work"]
    assert ["work"] in [service["command"] for service in services.values()], "no worker takes all stages"
    for service in services.values():
        parses(service["command"])


def test_the_environment_of_each_service_loads(services: dict[str, Any], tmp_path: Path) -> None:
    """The very variables of the compose file are settings of danepipe, and all parts share one Redis."""
    loaded = [_configuration(service, tmp_path) for service in services.values()]
    assert {config.redis.url for config in loaded} == {"redis://redis:6379/0"}
    assert all(not config.redis.allow_unsafe for config in loaded)
    assert {config.hostname for config in loaded} == {"mail.example.org"}


def test_the_resolver_of_the_containers_is_believed(
    compose: dict[str, Any], services: dict[str, Any], tmp_path: Path
) -> None:
    """DANE-05: the AD bit counts from the one resolver container, whose address agrees in all places, and no other."""
    (pool,) = compose["networks"]["default"]["ipam"]["config"]
    network = ipaddress.ip_network(pool["subnet"])
    address = ipaddress.ip_address(compose["services"]["unbound"]["networks"]["default"]["ipv4_address"])
    assert address in network
    assert address not in ipaddress.ip_network(pool["ip_range"]), "an engine might give it to another container"
    for service in services.values():
        settings = _configuration(service, tmp_path).dns_settings()
        assert [server.address for server in settings.servers] == [str(address)]
        assert all(server.is_trusted(settings.trust) for server in settings.servers)
        assert settings.trust == (ipaddress.ip_network(address),)
    resolver = (DEPLOY / "unbound-compose.conf").read_text()
    assert re.findall(r"^ +interface: (\S+)", resolver, re.MULTILINE) == [str(address)]
    assert re.findall(r"^ +access-control: (\S+) allow$", resolver, re.MULTILINE) == [str(network)]


def test_compose_makes_no_open_relay(compose: dict[str, Any], services: dict[str, Any], tmp_path: Path) -> None:
    """Only one port is published, on loopback, and only this machine may relay, which comes from the gateway."""
    published = {name: one["ports"] for name, one in compose["services"].items() if one.get("ports")}
    assert list(published) == ["accept"]
    (port,) = published["accept"]
    assert port.startswith("127.0.0.1:")
    listen = _configuration(services["accept"], tmp_path).listen
    assert port.removesuffix("/tcp").rpartition(":")[2] == listen.smtp.rpartition(":")[2]
    (pool,) = compose["networks"]["default"]["ipam"]["config"]
    assert set(listen.allow) == {"127.0.0.0/8", f"{pool['gateway']}/32"}
    assert all("network_mode" not in service for service in services.values())


def test_engines_wait_for_the_shutdown(services: dict[str, Any]) -> None:
    """A part that is asked to end is given longer than it gives its workers, and is signalled alone (init)."""
    for service in services.values():
        assert service["init"]
        patience = parse_duration(service["stop_grace_period"])
        assert patience >= PATIENCE.get(service["command"][0], timedelta(0))


def test_compose_mounts_what_is_there(compose: dict[str, Any]) -> None:
    """Every file and directory that the compose file names is part of the checkout."""
    for service in compose["services"].values():
        build = service.get("build")
        if build is not None:
            assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0] if isinstance(volume, str) else volume["source"]
            assert source in compose["volumes"] or (ROOT / source).is_file()


# Redis


@asynccontextmanager
async def _redis(directory: Path, *arguments: str) -> AsyncIterator[Redis]:
    """Run a Redis on a socket in a directory of its own, and give a client that has been answered."""
    socket = directory / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        redis_server().path, *arguments, "--port", "0", "--unixsocket", str(socket), cwd=directory,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    client = Redis.from_url(f"unix://{socket}")
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.ping()
                    break
                except (RedisError, OSError):
                    assert process.returncode is None, "redis-server ended"
                    await asyncio.sleep(0.02)
        yield client
    finally:
        await client.aclose()
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_redis_with_our_lines_is_safe(tmp_path: Path) -> None:
    """A Redis that includes the shipped file passes the check at start, also when its memory is bounded."""
    (tmp_path / "redis.conf").write_text(f"appendonly no\nappendfsync everysec\ninclude {DEPLOY / 'redis.conf'}\n")
    async with _redis(tmp_path, str(tmp_path / "redis.conf")) as client:
        assert await check_safety(client, allow_unsafe=False) == []
        await client.config_set("maxmemory", "100mb")
        assert await check_safety(client, allow_unsafe=False) == []


async def test_redis_as_compose_starts_it_is_safe(compose: dict[str, Any], tmp_path: Path) -> None:
    """The command of the compose file, with the file that is mounted for it, keeps what it is given."""
    service = compose["services"]["redis"]
    _, mounted, *options = service["command"]
    assert any(mounted in str(volume) for volume in service["volumes"])
    assert any("/data" in str(volume) for volume in service["volumes"])
    options = [str(tmp_path) if option == "/data" else option for option in options]
    async with _redis(tmp_path, str(DEPLOY / "redis.conf"), *options) as client:
        assert await check_safety(client, allow_unsafe=False) == []
