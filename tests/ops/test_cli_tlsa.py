"""`danepipe tlsa` against the lab: hosts that match, mismatch, expire and roll over, and what nobody can look at."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.lab.certificates import tlsa_data
from ops.lab.scenario import Subject, Tlsa
from ops.lab.scenarios import named
from ops.lab.world import Lab
from pipeline.store.published import PublishedStore
from stages.records import TLSA
from tests.delivery.certificates import leaf
from tests.ops.conftest import Run
from tests.ops.lab_beside import lab_beside

NAMES = (
    "ee-311", "mismatch", "two-mx", "ta-211", "ta-211-left-out", "expired-ee", "expired-ta", "pkix-only", "mixed",
    "rollover", "ee-301", "ee-312", "ee-310", "no-starttls", "down", "expired-tlsa", "servfail-tlsa", "insecure-mx",
    "clear",
)  # fmt: skip
TTL = timedelta(minutes=5)  # of the lab's zones


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab of few domains."""
    with lab_beside(tmp_path_factory.mktemp("lab"), named(*NAMES), "local") as lab:
        yield lab


@pytest.fixture
def tlsa(lab: Lab, place: Path, cli: Run) -> Run:
    """Give `tlsa(*arguments)`, which runs a command in the lab without Redis."""
    config = lab.write_config(place / "danepipe.toml", "redis://127.0.0.1:1/0")

    def run(*arguments: str, **environ: str) -> Result:
        return cli("--config", str(config), "tlsa", *arguments, **environ)

    return run


def pem(lab: Lab, name: str) -> str:
    """Give the file with the certificate of a domain's first host."""
    return str(next(one.identity.pem for one in lab.placed if one.scenario.name == name))


def record(lab: Lab, name: str, of: Subject = Subject.LEAF, usage: int = 3) -> TLSA:
    """Give the record that the lab makes of a certificate of a domain's first host."""
    identity = next(one.identity for one in lab.placed if one.scenario.name == name)
    return TLSA(usage, 1, 1, tlsa_data(Tlsa(usage, 1, 1, of), identity))


# make


def test_records_are_made_of_files_and_of_hosts(tlsa: Run, lab: Lab) -> None:
    """A file and the host that shows it give the same lines, which the lab has computed by other code."""
    lines = [
        f"_{lab.smtp_port}._tcp.mx.ta-211.lab. IN TLSA {record(lab, 'ta-211', of, usage)}"
        for of, usage in ((Subject.LEAF, 3), (Subject.CA, 2))
    ]
    for source in (pem(lab, "ta-211"), "mx.ta-211.lab", f"mx.ta-211.lab:{lab.smtp_port}"):
        made = tlsa("make", source)
        assert (made.exit_code, [line for line in made.stdout.splitlines() if line[0] != ";"]) == (0, lines)


def test_a_rollover_begins_with_two_records(tlsa: Run, lab: Lab) -> None:
    """`--next` adds the record of the key to come, and a host that does not exist yet can be named."""
    source = ("make", pem(lab, "ee-311"), "--next", pem(lab, "rollover"), "--json")
    own, following = str(record(lab, "ee-311")), str(record(lab, "rollover"))
    rows = json.loads(tlsa(*source).stdout)
    assert [row["record"] for row in rows] == [own, str(record(lab, "ee-311", Subject.CA, 2)), following]
    rows = json.loads(tlsa(*source, "--host", "mx.example.com", "--port", "25").stdout)
    assert [row["record"] for row in rows] == [own, None, following]
    assert "expected mx.example.com" in rows[1]["of"]  # under usage 2, names count
    assert {(row["host"], row["port"]) for row in rows} == {("mx.example.com", 25)}


def test_a_host_whose_records_are_broken_can_be_mended(tlsa: Run, lab: Lab) -> None:
    """What a host shows is looked at although its TLSA answer is bogus or does not match."""
    for name in ("expired-tlsa", "mismatch"):
        assert str(record(lab, name)) in tlsa("make", f"mx.{name}.lab").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["make", "missing.pem"], "missing.pem cannot be read: No such file"),
        (["make", "nonsense.pem"], "nonsense.pem: there is no certificate in it"),
        (["make", "mx.ee-311.lab", "--next", "nonsense.pem"], "nonsense.pem: there is no certificate and no key"),
        (["make", "mx.ee-311.lab", "--host", "mx.example.com"], "SOURCE is a host itself"),
        (["make", "mx.down.lab"], "no connection to"),
        (["make", "mx.nowhere.lab"], "has no address"),
        (["make", "mx.ee-311.lab:smtp"], "is no host and port"),
        (["make", "a b"], "is no domain name"),
        (["check", "a_b..c"], "is no domain name"),
        (["check", "ee-311.lab", "--warn", "soon"], "--warn: 'soon' is no duration"),
        (["guard", "missing.pem", "mx.ee-311.lab"], "missing.pem cannot be read"),
        (["guard", "good.pem", "mx.ee-311.lab", "--since", "yesterday"], "write a time such as"),
        (["guard", "good.pem", "mx.ee-311.lab", "--since", "2999-01-01T00:00Z"], "still to come"),
        (["guard", "good.pem", "mx.expired-tlsa.lab"], "bogus"),
        (["guard", "good.pem", "mx.servfail-tlsa.lab"], "servfail"),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_a_sentence(
    tlsa: Run, place: Path, arguments: list[str], says: str
) -> None:
    """Status 2 is for a file, a name or an option that is none, and for DNS or a host that does not answer."""
    (place / "nonsense.pem").write_text("nonsense")
    (place / "good.pem").write_bytes(leaf("mx.ee-311.lab").pem.read_bytes())
    found = tlsa(*arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert says in found.stderr
    assert found.stderr.startswith("danepipe: ")
    assert found.stderr.count("\n") == 1


def test_certificates_without_a_name_need_one(tlsa: Run, place: Path) -> None:
    """A wildcard names no host: the owner name of the record must be given."""
    (place / "wild.pem").write_bytes(leaf("*.example.com").pem.read_bytes())
    (place / "odd.pem").write_bytes(leaf("mail_host.example.com").pem.read_bytes())
    assert "'_' must not stand in one; name the host with --host" in tlsa("make", "odd.pem").stderr
    assert "--host" in tlsa("make", "wild.pem").stderr
    assert "_25._tcp.mx.example.com. IN" in tlsa("make", "wild.pem", "--host", "mx.example.com", "--port", "25").stdout


def test_a_bad_configuration_is_no_finding(cli: Run, place: Path) -> None:
    """Status 1 would say that something fails at the domain."""
    (place / "danepipe.toml").write_text("[own]\ndomain = 1\n")
    found = cli("tlsa", "check", "example.com")
    assert (found.exit_code, "unknown key, did you mean 'domains'?" in found.stderr) == (2, True)


# check


@pytest.mark.parametrize(
    ("name", "status", "codes"),
    [
        ("ee-311", 0, []),
        ("mismatch", 1, ["fails dane-mismatch"]),
        ("two-mx", 1, ["fails dane-mismatch"]),
        ("ta-211", 0, []),
        ("ta-211-left-out", 1, ["fails dane-mismatch"]),
        ("expired-ee", 0, ["note expired"]),
        ("expired-ta", 1, ["fails dane-mismatch"]),
        ("pkix-only", 3, ["soon pkix-only"]),
        ("mixed", 3, ["soon unusable-record", "note unusable-record"]),
        ("rollover", 0, ["note other-key"]),
        ("ee-301", 0, ["note selector"]),
        ("ee-312", 0, ["note matching-type"]),
        ("ee-310", 0, ["note matching-type"]),
        ("no-starttls", 1, ["fails tls-not-offered"]),
        ("down", 2, ["unseen smtp-connect"]),
        ("expired-tlsa", 1, ["fails dns-bogus-tlsa"]),
        ("servfail-tlsa", 2, ["unseen dns-tlsa-lookup"]),
        ("insecure-mx", 1, ["fails dane-mismatch", "soon insecure-mx"]),
        ("clear", 3, ["soon unprotected", "note no-tls"]),
        ("nowhere", 1, ["fails dns-nxdomain"]),
        ("canary-good", 0, ["note null-mx"]),
    ],
)
def test_the_status_is_what_others_meet(tlsa: Run, lab: Lab, name: str, status: int, codes: list[str]) -> None:
    """0 fine, 1 fails now, 2 unseen, 3 soon; what is no fault under DANE-EE is a note (DANE-55, DANE-62, DANE-67)."""
    found = tlsa("check", f"{name}.lab", "--json")
    row = json.loads(found.stdout)
    assert (found.exit_code, row["status"]) == (status, status)
    assert [f"{one['level']} {one['code']}" for one in row["findings"]] == codes
    text = tlsa("check", f"{name}.lab")
    assert text.exit_code == status
    assert text.stdout.startswith(f"{name}.lab: {row['verdict']}\n")
    assert all(f"{one['level'].upper()}" in text.stdout for one in row["findings"])
    assert not lab.received(f"{name}.lab")


def test_each_record_is_held_against_what_each_address_shows(tlsa: Run, lab: Lab) -> None:
    """Which record matches which certificate of the chain, which do not and why, with states and signatures."""
    row = json.loads(tlsa("check", "mixed.lab", "--json").stdout)
    (host,) = row["hosts"]
    assert (row["mx"], host["address"], host["tlsa"], host["demand"]) == ("secure", "secure", "secure", "dane")
    (served,) = host["served"]
    assert (served["level"], served["trouble"]) == ("dane", "")
    states = {one["record"]: (one["state"], one["depth"]) for one in served["records"]}
    assert states[str(record(lab, "mixed"))] == ("matches", 0)
    assert states["3 0 2 00"] == ("unusable", -1)
    assert {"mixed.lab MX", "mx.mixed.lab A", "mixed.lab DNSKEY", f"_{lab.smtp_port}._tcp.mx.mixed.lab TLSA"} == {
        f"{one['name']} {one['type']}" for one in row["signatures"]
    }
    assert {one["ttl"] for one in row["signatures"]} == {TTL.total_seconds()}
    (host,) = json.loads(tlsa("check", "ta-211.lab", "--json").stdout)["hosts"]
    assert [(one["state"], one["depth"]) for one in host["served"][0]["records"]] == [("matches", 1)]


def test_an_end_within_the_warning_is_told_of(tlsa: Run) -> None:
    """The certificates of the lab end in thirty days: that counts under usage 2, and is a note under usage 3."""
    found = tlsa("check", "ta-211.lab", "--warn", "31d", "--json")
    assert [one["code"] for one in json.loads(found.stdout)["findings"]] == ["expiring"]
    assert found.exit_code == 3
    found = tlsa("check", "ee-311.lab", "--warn", "31d", "--json")
    assert [one["code"] for one in json.loads(found.stdout)["findings"]] == ["certificate-ends"]
    assert found.exit_code == 0


def test_a_host_is_checked_by_itself(tlsa: Run, lab: Lab) -> None:
    """`--host` asks for no MX, and DANE off in our own policy changes nothing of what others find."""
    found = tlsa("check", "mx2.two-mx.lab", "--host", "--port", str(lab.smtp_port), "--json", DANE__MODE="off")
    row = json.loads(found.stdout)
    assert (found.exit_code, row["mx"], len(row["hosts"])) == (0, "not by MX", 1)
    assert tlsa("check", "mismatch.lab", DANE__MODE="off", HOSTNAME="mx.mismatch.lab").exit_code == 1


# guard


@pytest.fixture
def history(redis_url: str) -> Callable[[Callable[[PublishedStore], Awaitable[Any]]], None]:
    """Give `history(work)`, which runs `work(store)` on an empty Redis."""
    with Redis.from_url(redis_url) as client:
        client.flushall()

    def run(work: Callable[[PublishedStore], Awaitable[Any]]) -> None:
        async def connected() -> None:
            client = AsyncRedis.from_url(redis_url)
            try:
                await work(PublishedStore(client))
            finally:
                await client.aclose()

        asyncio.run(connected())

    return run


def test_what_does_not_match_now_may_not_be_deployed(tlsa: Run, lab: Lab) -> None:
    """No certificate is good before its record is published; the line to publish is given."""
    found = tlsa("guard", pem(lab, "rollover"), "mx.ee-311.lab")
    assert found.exit_code == 1
    assert found.stdout.startswith("mx.ee-311.lab: no\n")
    assert f"_{lab.smtp_port}._tcp.mx.ee-311.lab. IN TLSA {record(lab, 'rollover')}" in found.stdout


def test_without_a_history_the_first_look_is_the_change(tlsa: Run, lab: Lab) -> None:
    """Nobody knows what caches hold: the TTL is waited for, from now or from when the operator says."""
    before = datetime.now(UTC)
    row = json.loads(tlsa("guard", pem(lab, "ee-311"), "mx.ee-311.lab", "--json").stdout)
    assert row["allowed"] is False
    assert before + TTL <= datetime.fromisoformat(row["until"]) <= datetime.now(UTC) + TTL + timedelta(seconds=2)
    assert "nobody has watched" in row["reasons"][0]
    assert "Redis is away" in row["notes"][0]
    since = (before - TTL).isoformat()
    found = tlsa("guard", pem(lab, "ee-311"), "mx.ee-311.lab", "--since", since)
    assert (found.exit_code, found.stdout.splitlines()[0]) == (0, "mx.ee-311.lab: yes")
    found = tlsa("guard", pem(lab, "ee-311"), "mx.ee-311.lab", "--since", (before - TTL / 2).isoformat())
    assert (found.exit_code, "its TTL is not known" in found.stdout) == (1, True)


def test_a_host_without_usable_records_asks_for_nothing(tlsa: Run, lab: Lab) -> None:
    """Any certificate may be shown where none is authenticated, once nothing else can be in a cache."""
    long_ago = "2026-01-01T00:00"
    assert tlsa("guard", pem(lab, "ee-311"), "mx.clear.lab").exit_code == 1
    for host in ("mx.clear.lab", "mx.pkix-only.lab"):
        assert tlsa("guard", pem(lab, "ee-311"), host, "--since", long_ago).exit_code == 0


def test_a_rollover_waits_for_the_set_that_was_there(
    tlsa: Run, lab: Lab, redis_url: str, history: Callable[..., None]
) -> None:
    """The new key waits for the TTL of the old set, the old key for nothing, and after it both may be used."""
    host, port, now = "mx.rollover.lab", lab.smtp_port, datetime.now(UTC)
    old, both = record(lab, "rollover"), (record(lab, "rollover"), record(lab, "rollover", Subject.NEXT))
    following = next(one.identity for one in lab.placed).subjects[Subject.NEXT]
    Path("next.der").write_bytes(following.public_bytes(Encoding.DER))

    def guard(certificate: str) -> Result:
        return tlsa("guard", certificate, f"{host}:{port}", "--json", REDIS__URL=redis_url)

    async def watched(store: PublishedStore) -> None:
        await store.observe(host, port, (old,), TTL, now - 2 * TTL / 3)
        await store.observe(host, port, both, TTL, now - TTL / 3)

    history(watched)
    row = json.loads(guard("next.der").stdout)
    assert row["allowed"] is False
    assert datetime.fromisoformat(row["until"]) - (now + 2 * TTL / 3) <= timedelta(seconds=1)
    assert str(old) in row["reasons"][0]
    assert guard(pem(lab, "rollover")).exit_code == 0
    with Redis.from_url(redis_url) as client:
        client.flushall()

    async def watched_for_longer(store: PublishedStore) -> None:
        await store.observe(host, port, (old,), TTL, now - 3 * TTL)
        await store.observe(host, port, both, TTL, now - 2 * TTL)

    history(watched_for_longer)
    assert guard("next.der").exit_code == 0
