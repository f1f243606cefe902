"""What is deployed beside the compose file is right: the image, the resolver, the units, the example, the manual.

Each program whose configuration is shipped reads it: Unbound, systemd, and danepipe itself.
"""

import ipaddress
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from delivery.nameserver import Server
from delivery.trust import examine
from ops.lab.scenarios import named
from ops.lab.unbound import Unbound
from ops.lab.world import Lab
from pipeline.config import load
from pipeline.values import parse_duration
from stages.status import EDE_BOGUS
from tests.needs import program
from tests.ops.command_line import PATIENCE, parses

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "ops/deploy"
PARTS = ("accept", "work", "clock")


# The images


def _instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Give instructions with their arguments; lines that go on are joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, " ".join(rest.split())


def _copied() -> list[str]:
    """Give what the image is built from."""
    found = [rest.split()[:-1] for word, rest in _instructions(DEPLOY / "Dockerfile") if word == "COPY"]
    return [source for sources in found for source in sources]


def test_the_image_installs_what_make_run_installs() -> None:
    """The lines that call pip are those of the Makefile, but that the image does not install in place."""
    rule = re.search(r"^\$\(VENV\)/\.installed:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    made = [line.strip().removeprefix("@$(BIN)/") for line in rule[1].splitlines() if " pip " in line]
    image = [rest for word, rest in _instructions(DEPLOY / "Dockerfile") if word == "RUN" and " pip " in rest]
    assert image == [line.replace(" -e .", " .") for line in made]
    assert "--require-hashes -r requirements.txt" in image[0]
    assert "--no-build-isolation --no-deps" in image[1]


def test_the_image_has_the_python_of_the_locked_dependencies() -> None:
    """Its Python is one that the package supports and for which the private Redis of `up` has a wheel."""
    base = next(rest for word, rest in _instructions(DEPLOY / "Dockerfile") if word == "FROM")
    version = re.match(r"python:3\.(\d+)-slim", base)
    assert version is not None
    assert int(version[1]) in {11, 12}


def test_the_image_runs_danepipe_as_nobody_special() -> None:
    """The program is the entry point, not as root, and its output is not held back."""
    instructions = list(_instructions(DEPLOY / "Dockerfile"))
    assert ("ENTRYPOINT", '["danepipe"]') in instructions
    assert ("USER", "danepipe") in instructions
    assert ("ENV", "PYTHONUNBUFFERED=1") in instructions
    assert not [rest for word, rest in instructions if word == "USER" and rest != "danepipe"]


def test_what_is_copied_into_the_image_is_not_ignored() -> None:
    """The build context holds what the Dockerfile copies, and nothing that is not named."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == set(_copied())


def test_what_is_copied_into_the_image_is_the_whole_package(tmp_path: Path) -> None:
    """The package can be built from it, without a network, and holds every script of the store and every command."""
    context = tmp_path / "context"
    context.mkdir()
    for name in _copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=context, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    sources = (path for floor in ("stages", "delivery", "pipeline", "ops") for path in (ROOT / floor).rglob("*.*"))
    wanted = {str(path.relative_to(ROOT)) for path in sources if path.suffix in {".py", ".lua"}}
    assert len(wanted) > 100
    assert wanted <= packed


# The resolver


class _Shipped(Unbound):
    """An Unbound with the shipped configuration, moved into the lab: its port, root key and nameserver."""

    def _text(self) -> str:
        moved = _moved(DEPLOY / "unbound.conf", self._directory, self._anchor)
        for old, new in (
            ("interface: 127.0.0.1\n", f"interface: 127.0.0.1@{self.port}\n    do-not-query-localhost: no\n"),
            ('username: "unbound"', 'username: ""'),
            ("control-enable: yes", "control-enable: no"),
        ):
            assert old in moved
            moved = moved.replace(old, new)
        return f'{moved}\nforward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{self._upstream}\n'


def _moved(file: Path, directory: Path, anchor: str) -> str:
    """Give a configuration of Unbound with files in `directory` in place of those of a machine."""
    key = directory / "root.key"
    key.write_text(f"{anchor}\n")
    return (
        file.read_text()
        .replace("/var/lib/unbound/root.key", str(key))
        .replace("/etc/unbound/unbound.conf", str(directory / "unbound.conf"))
    )


ROOT_ANCHOR = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


@pytest.mark.parametrize("name", ["unbound.conf", "unbound-compose.conf"])
def test_unbound_accepts_its_configuration(name: str, tmp_path: Path) -> None:
    """Unbound's own check finds no fault; it validates from the root's key, and serves loopback or the containers."""
    for file in ("unbound.conf", "unbound-compose.conf"):
        (tmp_path / file).write_text(_moved(DEPLOY / file, tmp_path, ROOT_ANCHOR))
    checker, file = program("unbound-checkconf"), str(tmp_path / name)
    result = subprocess.run([checker, file], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

    def value(option: str) -> list[str]:
        shown = subprocess.run([checker, "-o", option, file], capture_output=True, text=True, check=True)
        return shown.stdout.split("\n")[:-1]

    ours = {"unbound.conf": [], "unbound-compose.conf": ["10.53.25.53"]}[name]
    assert value("interface") == ["127.0.0.1", *ours]
    networks = {ipaddress.ip_network(line.split()[0]) for line in value("access-control")}
    assert all(network.is_private for network in networks)
    assert value("module-config") == ["validator iterator"]
    assert value("val-permissive-mode") == ["no"]
    assert value("ede") == ["yes"]
    assert value("ignore-cd-flag") == ["no"]
    assert value("serve-expired") == ["no"]
    assert value("auto-trust-anchor-file") == [str(tmp_path / "root.key")]


async def test_the_shipped_resolver_is_believed(tmp_path: Path) -> None:
    """SEC-85: with the shipped file a real Unbound passes danepipe's self-test, and says why an answer is bogus."""
    program("unbound")
    async with Lab.open(tmp_path / "lab", named("ee-311")) as lab:
        config = load(lab.write_config(tmp_path / "danepipe.toml"), {})
        resolver = _Shipped(tmp_path, lab.tree.anchor, lab.nameserver.port)
        await resolver.open()
        try:
            examined = await examine(Server.parse(resolver.address), config.dns_settings().canaries, (), 5)
            query = dns.message.make_query(lab.canaries()["canary_bogus"][0].partition("/")[0], "MX", want_dnssec=True)
            bogus = await dns.asyncquery.udp(query, "127.0.0.1", port=resolver.port, timeout=5)
            query.flags |= dns.flags.CD
            unchecked = await dns.asyncquery.udp(query, "127.0.0.1", port=resolver.port, timeout=5)
        finally:
            await resolver.close()
    assert examined.passed, examined.fault
    assert bogus.rcode() == dns.rcode.SERVFAIL
    assert {option.code for option in bogus.options if isinstance(option, dns.edns.EDEOption)} & set(EDE_BOGUS)
    assert unchecked.rcode() == dns.rcode.NOERROR


# systemd


def _unit(part: str) -> dict[str, str]:
    """Read a unit; of a key that stands more than once the last."""
    text = (DEPLOY / f"systemd/danepipe-{part}.service").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing about the units; only the place of the program is put right for it."""
    for file in (DEPLOY / "systemd").iterdir():
        text = file.read_text().replace("/opt/danepipe/bin/danepipe", "/bin/true")
        (tmp_path / file.name).write_text(text)
    result = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in result.stderr
    assert "danepipe" not in result.stderr


@pytest.mark.parametrize("part", PARTS)
def test_units_start_a_part_and_confine_it(part: str) -> None:
    """Each unit starts its part, with the machine's configuration, as a user without rights, and again if it fails."""
    unit = _unit(part)
    program_path, *command = shlex.split(unit["ExecStart"])
    assert program_path == "/opt/danepipe/bin/danepipe"
    assert command == [part]
    parses(command)
    assert "DANEPIPE_CONFIG=/etc/danepipe/danepipe.toml" in unit["Environment"].split()
    assert unit["User"] == "danepipe"
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert unit["StateDirectory"] == "danepipe"
    assert unit["Restart"] == "on-failure"
    assert unit["PartOf"] == unit["WantedBy"] == "danepipe.target"
    assert unit["CapabilityBoundingSet"] == ("CAP_NET_BIND_SERVICE" if part == "accept" else "")


@pytest.mark.parametrize("part", PARTS)
def test_systemd_waits_for_the_shutdown(part: str) -> None:
    """A part is given longer than it gives its workers, and they do not get a second signal from systemd."""
    unit = _unit(part)
    assert parse_duration(unit["TimeoutStopSec"]) >= PATIENCE.get(part, timedelta(0))
    assert unit["KillMode"] == "mixed"
    assert unit["KillSignal"] == "SIGTERM"


# The example configuration and the manual


def test_the_example_configuration_loads() -> None:
    """The file for several machines is valid, also with its commented parts, asks a loopback resolver, relays for few."""
    file = DEPLOY / "danepipe.toml"
    config = load(file, {})
    settings = config.dns_settings()
    assert all(server.is_trusted(settings.trust) for server in settings.servers)
    assert settings.trust == ()
    assert all(ipaddress.ip_network(network).is_private for network in config.listen.allow)
    assert config.redis.url.startswith("redis://")


def test_the_commented_examples_load(tmp_path: Path) -> None:
    """A reader who uncomments the examples of that file gets a valid one."""
    text = re.sub(r"^# (\[\[|\w+ = )", r"\1", (DEPLOY / "danepipe.toml").read_text(), flags=re.MULTILINE)
    (tmp_path / "all.toml").write_text(text)
    config = load(tmp_path / "all.toml", {})
    assert [rule.host for rule in config.route] == ["mx.partner.example"]
    assert [entry.pattern for entry in config.exclude] == ["*@broken.example"]
    assert config.listen.certificate is not None


def _commands(page: str) -> list[list[str]]:
    """Give the commands of danepipe that stand in the code of a page, without the rest of their lines."""
    blocks = re.findall(r"^ {4}.*(?<![\w.-])(?<!tag )danepipe ([a-z].*)$", page, re.MULTILINE)
    inline = re.findall(r"`danepipe ([^`]+)`", page)
    return [shlex.split(re.split(r"\s{2,}|[|<>]", text)[0]) for text in (*blocks, *inline)]


def test_what_the_manual_names_exists() -> None:
    """Every `danepipe` command of the page can be given as it stands there, and every file it names is there."""
    page = (ROOT / "ops/docs/deployment.md").read_text()
    commands = _commands(page)
    assert ["trace", "ID", "--log", "-"] in commands
    assert ["work", "--processes", "4", "--threads", "32"] in commands
    for words in commands:
        parses(words if len(words) > 1 else [*words, "--help"])
    for path in set(re.findall(r"(?<![\w/])ops/[\w./-]+\w", page)):
        assert list(ROOT.glob(f"{path}*")), path
