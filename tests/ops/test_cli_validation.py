"""What an operator sees of our own validation: which way is in use and why, and the chain below each answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from delivery.nameserver import Server
from delivery.trust import Examination, Source
from ops.lab.scenarios import named
from ops.lab.world import Lab
from ops.validation import in_words
from tests.needs import silent_port
from tests.ops.conftest import Run
from tests.ops.lab_beside import lab_beside

LAB = named("ee-311", "expired-tlsa", "unsigned")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab without a validating resolver, once for this module."""
    with lab_beside(tmp_path_factory.mktemp("lab"), LAB, "local") as running:
        yield running


@pytest.fixture
def config(lab: Lab, place: Path) -> str:
    """Give a configuration file for the lab."""
    return str(lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0"))


def ways(cli: Run, config: str, **environ: str) -> list[dict[str, Any]]:
    """Give what `config show` says is in use, in JSON, having checked that the text says the same."""
    made = json.loads(cli("--config", config, "config", "show", "dns", "--json", **environ).stdout)["dns.validation"]
    lines = cli("--config", config, "config", "show", "dns", **environ).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("dns.validation = "))
    for line, one in zip(lines[at + 1 :], made["in_use"], strict=False):
        way = one["source"] or "is not used"
        assert line == f"# dns.validation = {made['value']}: {one['resolver']} {way} ({one['why']})"
    in_use: list[dict[str, Any]] = made["in_use"]
    return in_use


def test_what_is_set_is_in_use(cli: Run, config: str, lab: Lab) -> None:
    """With `local`, the resolver passes when its answers can be proven from the anchors of the file."""
    found = ways(cli, config)
    assert found == [{"resolver": lab.resolver, "source": "local", "why": "passes its self-test"}]


def test_auto_says_why_it_does_not_believe_a_resolver(cli: Run, config: str, lab: Lab) -> None:
    """DANE-05: a resolver on loopback that does not validate is used all the same, and the canary that showed it is named."""
    (found,) = ways(cli, config, DNS__VALIDATION="auto")
    assert (found["resolver"], found["source"]) == (lab.resolver, "local")
    assert "fails its self-test: lab/SOA: NOERROR without AD, expected secure" in found["why"]


def test_each_resolver_is_told_of(cli: Run, config: str, lab: Lab) -> None:
    """One that is silent beside one that serves does not hide it, and costs no more than `dns.timeout`."""
    with silent_port() as port:
        servers = f"127.0.0.1@{port},{lab.resolver}"
        found = ways(cli, config, DNS__VALIDATION="auto", DNS__SERVERS=servers, DNS__TIMEOUT="1s")
    assert [one["source"] for one in found] == [None, "local"]
    assert found[0]["why"] == "its self-test does not end within 1 s, which is dns.timeout"


def test_nothing_in_use(cli: Run, config: str) -> None:
    """DANE-05: with `trusted` and a resolver that does not validate, mail waits, and that is said."""
    (found,) = ways(cli, config, DNS__VALIDATION="trusted")
    assert found["source"] is None
    shown = cli("--config", config, "config", "show", "dns.validation", DNS__VALIDATION="trusted").stdout
    assert shown.splitlines()[-1].endswith("mail that DANE concerns waits: name a resolver in dns.servers")


@pytest.mark.parametrize(("validation", "source"), [("auto", "trusted"), ("trusted", "trusted"), ("both", "both")])
def test_a_validating_resolver_is_believed(
    cli: Run, place: Path, tmp_path_factory: pytest.TempPathFactory, validation: str, source: str
) -> None:
    """`auto` believes one on loopback; what is set otherwise is used otherwise."""
    with lab_beside(tmp_path_factory.mktemp("validated"), LAB, "trusted") as lab:
        file = str(lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0"))
        found = ways(cli, file, DNS__VALIDATION=validation)
    assert found == [{"resolver": lab.resolver, "source": source, "why": "passes its self-test"}]


def test_no_other_key_asks_anybody(cli: Run, config: str, lab: Lab) -> None:
    """The self-test is made only where `dns.validation` is shown."""
    with silent_port() as port:
        shown = cli("--config", config, "config", "show", "queue", DNS__SERVERS=f"127.0.0.1@{port}", DNS__TIMEOUT="1h")
    assert shown.exit_code == 0
    assert lab.resolver not in shown.stdout


def test_up_says_how_each_resolver_is_used() -> None:
    """The line of `danepipe up` about DNS names the resolvers by the way in which each is used."""
    first, second, third = (Server("127.0.0.1", port) for port in (53, 54, 55))
    found = [
        Examination(first, (), trusted=True),
        Examination(second, (), trusted=True, source=Source.LOCAL),
        Examination(third, (), trusted=True),
    ]
    assert in_words(found) == (
        "127.0.0.1@53, 127.0.0.1@55 validates, and is believed; 127.0.0.1@54: its answers are proven here"
    )
    both = [Examination(first, (), trusted=True, source=Source.BOTH)]
    assert in_words(both) == "127.0.0.1@53 validates, and its answers are proven here as well"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"DNS__ANCHOR_FILE": "none.key"}, "DNS__ANCHOR_FILE: dns.anchor_file: none.key: cannot be read: no such file"),
        ({"DNS__ANCHOR_FILE": "bad.key"}, "dns.anchor_file: bad.key: trust anchors, line 1: algorithm 3 is not supp"),
        ({"DNS__ANCHOR_FILE": "empty.key"}, "dns.anchor_file: empty.key: trust anchors: there is no record; expected"),
        ({"DNS__ANCHOR_FILE": "key.bin"}, "dns.anchor_file: key.bin: "),
        ({"DNS__NEGATIVE": '[{name="a.example"}]'}, "DNS__NEGATIVE: dns.negative[1].reason: field required"),
    ],
)
@pytest.mark.parametrize("command", [("config", "check"), ("config", "show", "dns"), ("explain", "user@ee-311.lab")])
def test_anchors_that_are_none(
    cli: Run, place: Path, command: tuple[str, ...], environ: dict[str, str], wanted: str
) -> None:
    """SEC-85: an anchor file that cannot serve ends any command with the key, the file, the line and what would be right."""
    (place / "bad.key").write_text(
        ". IN DS 20326 3 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
    )
    (place / "empty.key").write_text("; nothing\n")
    (place / "key.bin").write_bytes(b"\xff\xfe\x00")
    result = cli(*command, **environ)
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert wanted in result.stderr


def test_anchors_that_nobody_needs_are_not_read(cli: Run) -> None:
    """With `trusted` nothing is proven here, so a missing anchor file ends nothing."""
    shown = cli("config", "show", "dns.anchor_file", DNS__VALIDATION="trusted", DNS__ANCHOR_FILE="none.key")
    assert shown.exit_code == 0


def test_explain_shows_each_step_once(cli: Run, config: str, lab: Lab) -> None:
    """SEC-66: below an answer stand the steps of its proof that no answer before it had; JSON has each chain in full."""
    arguments = ("--config", config, "explain", "user@ee-311.lab")
    text = cli(*arguments).stdout
    steps = [line.strip().removeprefix("chain: ") for line in text.splitlines() if line.startswith("      chain: ")]
    (bound,) = json.loads(cli(*arguments, "--json").stdout)["destinations"]
    chains = {answer["question"]: answer["chain"] for answer in bound["answers"]}
    assert [len(chain) for chain in chains.values()] == [6, 6, 6, 6]
    assert all(chain[:5] == chains["ee-311.lab/MX"][:5] for chain in chains.values())
    assert [step.split(": ")[1] for step in steps] == [
        "./DNSKEY", "lab/DS", "lab/DNSKEY", "ee-311.lab/DS", "ee-311.lab/DNSKEY", "ee-311.lab/MX", "mx.ee-311.lab/A",
        "mx.ee-311.lab/AAAA", f"_{lab.smtp_port}._tcp.mx.ee-311.lab/TLSA",
    ]  # fmt: skip
    lines = text.splitlines()
    assert lines.index("    ee-311.lab/MX: secure (from " + lab.resolver + ")") + 2 == lines.index(
        f"      chain: {steps[0]}"
    )


def test_explain_shows_what_broke(cli: Run, config: str) -> None:
    """DANE-01: the chain of a bogus answer ends with the record that broke it and why."""
    lines = cli("--config", config, "explain", "user@expired-tlsa.lab").stdout.splitlines()
    last = [line for line in lines if line.startswith("      chain: ")][-1]
    assert ": bogus: RRSIG over _" in last
    assert " expired 20" in last
    assert "      shown to be the zone's fault by validator" in lines
