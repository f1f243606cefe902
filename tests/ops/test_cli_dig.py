"""`danepipe dig`: what it shows of an answer and of its proof, as text and as JSON, and its exit status."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ops.lab.scenarios import named
from ops.lab.world import Lab
from tests.needs import silent_port
from tests.ops.conftest import Run
from tests.ops.lab_beside import lab_beside

LAB = named(
    "ee-311", "unsigned", "expired-mx", "broken-ds", "missing-nsec", "cname-expanded", "null-mx", "servfail-mx"
)  # fmt: skip
KEYS = {"name", "type", "status", "rcode", "answers", "aliases", "why", "chain", "ede", "resolver", "ttl"}

Dig = Callable[..., Result]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab without a validating resolver, once for this module."""
    with lab_beside(tmp_path_factory.mktemp("lab"), LAB, "local") as running:
        yield running


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab with a resolver that validates, once for this module."""
    with lab_beside(tmp_path_factory.mktemp("validated"), LAB, "trusted") as running:
        yield running


@pytest.fixture
def dig(lab: Lab, cli: Run, place: Path) -> Dig:
    """Give `dig(*arguments)` with the configuration of the lab."""
    config = lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0")
    return lambda *arguments: cli("--config", str(config), "dig", *arguments)


def row(result: Result) -> dict[str, Any]:
    """Read the output of `--json`: one object with the keys of the contract."""
    made: dict[str, Any] = json.loads(result.stdout)
    assert set(made) == KEYS
    return made


def test_a_secure_answer_with_the_chain_that_proves_it(dig: Dig) -> None:
    """SEC-66 (RFC 4035 section 5): each zone from the root down stands there with its keys, algorithm and dates."""
    result = dig("EE-311.lab.", "mx", "--json")
    assert result.exit_code == 0
    made = row(result)
    assert (made["name"], made["type"], made["status"], made["rcode"]) == ("ee-311.lab", "MX", "secure", "NOERROR")
    assert made["answers"] == ["10 mx.ee-311.lab."]
    assert 0 < made["ttl"] <= 300
    assert made["ede"] == made["aliases"] == []
    steps = [step.split(": ")[:3] for step in made["chain"]]
    assert steps == [
        [".", "./DNSKEY", "secure"],
        [".", "lab/DS", "secure"],
        ["lab", "lab/DNSKEY", "secure"],
        ["lab", "ee-311.lab/DS", "secure"],
        ["ee-311.lab", "ee-311.lab/DNSKEY", "secure"],
        ["ee-311.lab", "ee-311.lab/MX", "secure"],
    ]
    assert made["why"] == made["chain"][-1]
    today = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert all("signed by " in step and "/13/" in step and today in step for step in made["chain"])


def test_the_same_as_text(dig: Dig) -> None:
    """The answer stands first, the chain below it, and where it came from last."""
    lines = dig("ee-311.lab", "MX").stdout.splitlines()
    assert lines[:3] == ["ee-311.lab/MX: secure (NOERROR)", "  10 mx.ee-311.lab.", "chain:"]
    assert lines[3].startswith("  .: ./DNSKEY: secure: signed by ./13/")
    assert lines[-1].startswith("from 127.0.0.1@")


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "proof"),
    [
        ("nothing.ee-311.lab", "A", "NXDOMAIN", "NSEC records show that neither nothing.ee-311.lab. nor"),
        ("mx.ee-311.lab", "AAAA", "NOERROR", "the NSEC record of mx.ee-311.lab. lists no AAAA records"),
    ],
)
def test_a_denial_with_its_proof(dig: Dig, name: str, rdtype: str, rcode: str, proof: str) -> None:
    """SEC-34, SEC-36 (RFC 4035 5.4): an answer that is not there is shown with the records that prove it."""
    result = dig(name, rdtype, "--json")
    made = row(result)
    assert (result.exit_code, made["status"], made["rcode"], made["answers"]) == (0, "secure", rcode, [])
    assert proof in made["why"]
    assert proof in dig(name, rdtype).stdout


def test_records_stand_as_in_a_zone_file(dig: Dig, lab: Lab) -> None:
    """Names end in a dot, TLSA has its numbers, and aliases are listed beside the answer."""
    made = row(dig("mx.cname-expanded.lab", "A", "--json"))
    assert made["aliases"] == ["cname-expanded.hosts.lab"]
    assert made["answers"] == [lab.address_of("cname-expanded.lab")]
    assert "  alias of cname-expanded.hosts.lab" in dig("mx.cname-expanded.lab", "A").stdout.splitlines()
    (tlsa,) = row(dig(f"_{lab.smtp_port}._tcp.mx.ee-311.lab", "TLSA", "--json"))["answers"]
    assert tlsa.startswith("3 1 1 ")
    assert row(dig("null-mx.lab", "MX", "--json"))["answers"] == ["0 ."]
    assert row(dig("ee-311.lab", "SOA", "--json"))["answers"][0].startswith("ns.lab. hostmaster.lab. ")


def test_an_insecure_answer_says_where_the_chain_ends(dig: Dig) -> None:
    """SEC-15 (RFC 4035 5.2): the last step is the signed proof that there is no DS; that is no error."""
    result = dig("unsigned.lab", "MX", "--json")
    made = row(result)
    assert (result.exit_code, made["status"], made["answers"]) == (0, "insecure", ["10 mx.unsigned.lab."])
    assert made["chain"][-1] == "lab: unsigned.lab/DS: insecure: unsigned.lab. is delegated without DS records"


@pytest.mark.parametrize(
    ("name", "rdtype", "why", "code"),
    [
        ("expired-mx.lab", "MX", "RRSIG over expired-mx.lab MX by expired-mx.lab/13/", 7),
        ("broken-ds.lab", "MX", "broken-ds.lab", 9),
        ("_25._tcp.mx.missing-nsec.lab", "TLSA", "nothing proves that _25._tcp.mx.missing-nsec.lab", 12),
    ],
)
def test_a_bogus_answer_names_the_first_record_that_broke_it(
    dig: Dig, lab: Lab, name: str, rdtype: str, why: str, code: int
) -> None:
    """DANE-01 (RFC 4035 4.3): exit status 1, the record and the fault in one line, and the code of RFC 8914."""
    name = name.replace("_25.", f"_{lab.smtp_port}.")
    result = dig(name, rdtype, "--json")
    made = row(result)
    assert (result.exit_code, made["status"], made["rcode"], made["answers"]) == (1, "bogus", "SERVFAIL", [])
    assert why.replace("_25.", f"_{lab.smtp_port}.") in made["why"]
    assert "\n" not in made["why"]
    assert [one["code"] for one in made["ede"]] == [code]
    assert ": bogus: " in made["chain"][-1]
    assert made["why"] in dig(name, rdtype).stdout


@pytest.mark.parametrize(("days", "fault"), [(400, " expired 20"), (-400, " is not valid before 20")])
def test_another_time_breaks_a_good_answer(dig: Dig, days: int, fault: str) -> None:
    """SEC-27 (RFC 4035 5.3.1): `--at` sets the clock, and the date that does not fit stands in the reason."""
    when = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%MZ}"
    result = dig("ee-311.lab", "MX", "--at", when, "--json")
    made = row(result)
    assert (result.exit_code, made["status"]) == (1, "bogus")
    assert made["why"].startswith("ee-311.lab/MX: RRSIG over . DNSKEY by ./13/")
    assert fault in made["why"]
    soon = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    assert dig("ee-311.lab", "MX", "--at", soon).exit_code == 0


def test_no_answer_is_neither_secure_nor_bogus(dig: Dig) -> None:
    """DANE-10 (RFC 7672 2.1.2): a lookup failure has exit status 2 and is called what it is."""
    result = dig("servfail-mx.lab", "MX", "--json")
    made = row(result)
    assert (result.exit_code, made["status"], made["rcode"], made["ttl"]) == (2, "servfail", "SERVFAIL", 0)
    assert "SERVFAIL" in made["why"]


def test_a_resolver_that_does_not_answer(cli: Run) -> None:
    """DANE-10: patience with a silent resolver ends after `dns.timeout`, and the resolver is named."""
    with silent_port() as port:
        server = f"127.0.0.1@{port}"
        result = cli("dig", "example.com", "MX", "--server", server, DNS__TIMEOUT="100ms", DNS__ATTEMPTS="1")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[:2] == [
        "example.com/MX: timeout",
        f"  example.com/MX: {server} did not answer within 0.1 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("ee-311.lab", "NONSENSE"), "'NONSENSE' is no type of record: write A, AAAA, MX, TLSA"),
        (("ee-311.lab", "ANY"), "'ANY' is no type of record"),
        (("a..lab", "MX"), "'a..lab' is no domain name"),
        (("a" * 64, "MX"), "is no domain name"),
        (("x\N{SNOWMAN}-.lab", "MX"), "is no domain name"),
        (("ee-311.lab", "MX", "--server", "resolver.example"), "--server 'resolver.example': write an address"),
        (("ee-311.lab", "MX", "--server", "127.0.0.1@65536"), "--server '127.0.0.1@65536': write an address"),
        (("ee-311.lab", "MX", "--server", "127.0.0.1@0"), "--server '127.0.0.1@0': write an address"),
        (("ee-311.lab", "MX", "--at", "0001-01-01"), "--at '0001-01-01': write a time of the years 1970 to 9000"),
        (("ee-311.lab", "MX", "--at", "9999-12-31"), "--at '9999-12-31': write a time of the years 1970 to 9000"),
        (("ee-311.lab", "MX", "--anchor", "octets.key"), "--anchor octets.key: trust anchors: octet 2 is no text"),
        (("ee-311.lab", "MX", "--at", "noon"), "--at 'noon': write a time such as 2026-11-20T12:00Z"),
        (("ee-311.lab", "MX", "--anchor", "none.key"), "--anchor none.key: cannot be read: no such file or directory"),
        (
            ("ee-311.lab", "MX", "--anchor", "bad.key"),
            "--anchor bad.key: trust anchors, line 2: expected a record like",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(dig: Dig, place: Path, arguments: tuple[str, ...], wanted: str) -> None:
    """A name, type, server, time or file that is none is named, with status 2: nothing was found bogus."""
    (place / "bad.key").write_text("; my anchors\nhello\n")
    (place / "octets.key").write_bytes(b". \xff\xfe")
    result = dig(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert wanted in result.stderr


def test_a_configuration_that_cannot_be_read_is_no_bogus_answer(cli: Run) -> None:
    """Whatever is wrong with us has status 2, and never that of a broken zone."""
    assert cli("dig", "example.com", DNS__ATTEMPTS="none").exit_code == 2


def test_anchors_of_a_file(dig: Dig, lab: Lab, place: Path, cli: Run) -> None:
    """SEC-01 (RFC 4035 4.4): the chain begins at the anchors named, in DS or DNSKEY form; those of another root break it."""
    assert cli("dig", "ee-311.lab", "MX", "--server", lab.resolver).exit_code == 1
    told = cli("dig", "ee-311.lab", "MX", "--server", lab.resolver, "--anchor", str(lab.anchor_file))
    assert told.exit_code == 0
    key = next(step for step in row(dig("lab", "DNSKEY", "--json"))["answers"] if step.startswith("257 "))
    (place / "lab.key").write_text(f"lab. 300 IN DNSKEY {key} ; of the zone lab alone\n")
    made = row(dig("ee-311.lab", "MX", "--anchor", "lab.key", "--json"))
    assert made["status"] == "secure"
    assert made["chain"][0].startswith("lab: lab/DNSKEY: secure")
    made = row(dig(".", "SOA", "--anchor", "lab.key", "--json"))
    assert made["status"] == "insecure"


def test_a_negative_anchor_of_the_configuration_counts(lab: Lab, cli: Run, place: Path) -> None:
    """RFC 7646: the command sees what delivery sees; anchors that are named instead have no exceptions."""
    more = {"dns": {"negative": [{"name": "expired-mx.lab", "reason": "being mended", "expires": "2999-01-01"}]}}
    config = str(lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0", more))
    made = row(cli("--config", config, "dig", "expired-mx.lab", "MX", "--json"))
    assert made["status"] == "insecure"
    assert "negative trust anchor" in made["why"]
    named_file = cli("--config", config, "dig", "expired-mx.lab", "MX", "--anchor", str(lab.anchor_file))
    assert named_file.exit_code == 1


@pytest.mark.parametrize("validation", ["trusted", "local", "both"])
def test_each_way_over_a_validating_resolver(validated: Lab, cli: Run, place: Path, validation: str) -> None:
    """DANE-01: believed, proven, or both: the status is the same; only what is proven here has a chain."""
    config = str(validated.write_config(place / "lab.toml", "redis://127.0.0.1:1/0"))
    states = []
    for domain in ("ee-311.lab", "unsigned.lab", "expired-mx.lab"):
        result = cli("--config", config, "dig", domain, "MX", "--validation", validation, "--json")
        made = row(result)
        states.append((made["status"], result.exit_code))
        assert bool(made["chain"]) is (validation != "trusted")
    assert states == [("secure", 0), ("insecure", 0), ("bogus", 1)]


def test_two_sources_that_contradict_each_other(dig: Dig) -> None:
    """DANE-06: a resolver that does not validate contradicts our proof, so nothing is decided, and both stories are told."""
    result = dig("ee-311.lab", "MX", "--validation", "both", "--json")
    made = row(result)
    assert (result.exit_code, made["status"], made["rcode"]) == (2, "indeterminate", None)
    assert made["why"] == "the resolver says insecure, our own validation says secure"
    assert made["chain"]


def test_a_resolver_elsewhere_is_not_believed(dig: Dig) -> None:
    """DANE-05 (RFC 4035 4.9.3): the AD bit of a resolver that nobody vouches for is not even asked for."""
    result = dig("ee-311.lab", "MX", "--validation", "trusted", "--server", "192.0.2.53", "--json")
    made = row(result)
    assert (result.exit_code, made["status"]) == (2, "suspended")
    assert "neither on loopback nor named in dns.trust" in made["why"]
