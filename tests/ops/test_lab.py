"""The lab is what it says: each domain's DNS as a validating resolver sees it, its zones, its hosts, its certificates.

Other tests rest on the lab, so nothing here uses danepipe's own TLS or SMTP code, nor, where there is Unbound, its own
validation: dnspython and Unbound judge the zones, OpenSSL judges certificates and TLSA records, the standard library's
SMTP client the hosts.
"""

import asyncio
import smtplib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
import pytest_asyncio

from ops.lab.demo import possible
from ops.lab.mailhost import free_port
from ops.lab.nameserver import both_ways
from ops.lab.scenario import Damage, Host, Outcome, Scenario, State, Way
from ops.lab.scenarios import ALL, named
from ops.lab.unbound import NoUnbound, find_unbound
from ops.lab.world import Lab
from ops.lab.zones import tlsa_owner
from pipeline.config import load
from stages.destination import Destination, RouteKind
from stages.plan import Trouble
from stages.status import EDE_BOGUS
from tests.needs import program
from tests.ops.lab_table import PAGE, renewed
from tests.validating import validated_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Run one lab with all scenarios."""
    async with validated_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def every(chosen: tuple[Scenario, ...] = ALL) -> pytest.MarkDecorator:
    """Run a test once for each scenario."""
    return pytest.mark.parametrize("scenario", chosen, ids=[one.name for one in chosen])


# DNS


def _exchange(lab: Lab, name: str, rdtype: str, *, unchecked: bool = False) -> dns.message.Message:
    """Ask the lab's resolver; malformed records are passed over, as the library cannot hold them."""
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    query.flags |= dns.flags.AD | (dns.flags.CD if unchecked else 0)
    address, _, port = lab.resolver.partition("@")
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(15)
        client.sendto(query.to_wire(), (address, int(port)))
        return dns.message.from_wire(client.recv(65535), continue_on_error=True)


def _state(lab: Lab, name: str, rdtype: str) -> State:
    """Judge a question as RFC 4033 section 5 has the states, from AD, RCODE and a question with CD=1."""
    response = _exchange(lab, name, rdtype)
    if response.rcode() == dns.rcode.SERVFAIL:
        again = _exchange(lab, name, rdtype, unchecked=True)
        return State.ERROR if again.rcode() == dns.rcode.SERVFAIL else State.BOGUS
    secure = "secure" if response.flags & dns.flags.AD else "insecure"
    if response.rcode() == dns.rcode.NXDOMAIN:
        return State(f"{secure} nxdomain")
    wanted = dns.rdatatype.from_text(rdtype)
    there = any(rrset.rdtype == wanted for rrset in response.answer) or response.errors
    return State(secure if there else f"{secure} nodata")


@every()
async def test_the_resolver_sees_what_the_scenario_claims(lab: Lab, scenario: Scenario) -> None:
    """MX, address and TLSA of each domain are secure, insecure, denied, bogus or broken as its story says (DANE-01)."""
    claims = scenario.claims
    asked = [(scenario.domain, "MX", claims.mx)]
    if scenario.hosts:
        host = scenario.hosts[0]
        asked.append((scenario.absolute(host.name), "A", claims.address))
        asked.append((tlsa_owner(scenario.canonical(host), lab.smtp_port), "TLSA", claims.tlsa))
    for name, rdtype, claimed in asked:
        if claimed is not State.UNASKED:
            assert await asyncio.to_thread(_state, lab, name, rdtype) is claimed, (name, rdtype)


@every(tuple(one for one in ALL if State.BOGUS in {one.claims.mx, one.claims.address, one.claims.tlsa}))
async def test_a_bogus_answer_bears_an_extended_error(lab: Lab, scenario: Scenario) -> None:
    """The resolver says with an EDE of the DNSSEC kind that validation failed (SEC-78, RFC 8914 section 4)."""
    host, claims = scenario.hosts[0], scenario.claims
    questions = {
        (scenario.domain, "MX"): claims.mx,
        (scenario.absolute(host.name), "A"): claims.address,
        (tlsa_owner(scenario.canonical(host), lab.smtp_port), "TLSA"): claims.tlsa,
    }
    for (name, rdtype), state in questions.items():
        if state is State.BOGUS:
            response = await asyncio.to_thread(_exchange, lab, name, rdtype)
            assert {int(getattr(option, "code", -1)) for option in response.options} & set(EDE_BOGUS), name


async def test_canaries_are_what_a_validating_resolver_must_answer(lab: Lab) -> None:
    """The lab has secure, denied, insecure and bogus names for the self-test of danepipe's resolver."""
    found: dict[str, set[State]] = {}
    for kind, questions in lab.canaries().items():
        for question in questions:
            name, _, rdtype = question.partition("/")
            found.setdefault(kind, set()).add(await asyncio.to_thread(_state, lab, name, rdtype))
    assert found == {
        "canary_secure": {State.SECURE},
        "canary_absent": {State.SECURE_NXDOMAIN},
        "canary_insecure": {State.INSECURE},
        "canary_bogus": {State.BOGUS},
    }


async def test_signed_zones_validate_but_for_the_damage(lab: Lab) -> None:
    """Every record set of every signed zone fits its signature, except those that a scenario damaged (RFC 4035 2.2)."""
    damaged = {
        (lab_owner(lab, scenario, breakage.name, breakage.rdtype), breakage.rdtype)
        for scenario in lab.scenarios
        for breakage in scenario.breakage
        if breakage.damage in {Damage.EXPIRED, Damage.FORGED}
    } | {(dns.name.from_text("canary-broken.lab"), "MX")}
    failed = set()
    for origin, zone in lab.tree.zones.items():
        keys = zone.get_rdataset(origin, dns.rdatatype.DNSKEY)
        if keys is None:
            continue
        for name, node in zone.nodes.items():
            for rdataset in node.rdatasets:
                signatures = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, rdataset.rdtype)
                if rdataset.rdtype == dns.rdatatype.RRSIG or signatures is None:
                    continue
                try:
                    dns.dnssec.validate((name, rdataset), (name, signatures), {origin: keys})
                except dns.exception.ValidationFailure:
                    failed.add((name, dns.rdatatype.to_text(rdataset.rdtype)))
    assert failed == damaged


def lab_owner(lab: Lab, scenario: Scenario, name: str, rdtype: str) -> dns.name.Name:
    """Give the owner of a damaged record set."""
    owner = scenario.absolute(name)
    return dns.name.from_text(tlsa_owner(owner, lab.smtp_port) if rdtype == "TLSA" else owner)


async def test_nsec_chains_are_closed(lab: Lab) -> None:
    """The NSEC records of a signed zone name each other in canonical order and come round (RFC 4034 section 4.1.1)."""
    gone = {
        lab_owner(lab, scenario, breakage.name, breakage.rdtype)
        for scenario in lab.scenarios
        for breakage in scenario.breakage
        if breakage.damage is Damage.UNPROVEN
    }
    for origin, zone in lab.tree.zones.items():
        if zone.get_rdataset(origin, dns.rdatatype.DNSKEY) is None:
            continue
        names = sorted(zone)
        for name, following in zip(names, [*names[1:], origin], strict=True):
            nsec = zone.get_rdataset(name, dns.rdatatype.NSEC)
            if name in gone:
                assert nsec is None
            else:
                assert nsec is not None
                assert nsec[0].next == following


async def test_empty_non_terminals_exist(lab: Lab) -> None:
    """The name between a host and its TLSA name is NODATA, not NXDOMAIN, and proven (RFC 4592 section 2.2.2)."""
    assert await asyncio.to_thread(_state, lab, "_tcp.mx.ee-311.lab", "TXT") is State.SECURE_NODATA


async def test_an_answer_too_long_for_udp_comes_over_tcp(lab: Lab) -> None:
    """The lab's nameserver cuts off what does not fit and gives it whole over TCP (RFC 6891, RFC 7766)."""
    query = dns.message.make_query(
        tlsa_owner("mx.ta-200-left-out.lab", lab.smtp_port), "TLSA", want_dnssec=True, payload=512
    )
    port = lab.nameserver.port
    short = await asyncio.to_thread(dns.query.udp, query, "127.0.0.1", 5, port)
    whole = await asyncio.to_thread(dns.query.tcp, query, "127.0.0.1", 5, port)
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(whole.answer) == 2


# Hosts


def _place(lab: Lab, name: str) -> tuple[str, int]:
    return lab.address_of(f"{name}.lab"), lab.smtp_port


def _submit(lab: Lab, name: str, local: str = "user", *, tls: bool = True, sender: str = "a@sender.lab") -> int:
    """Send a message with the standard library's client; returns the code that settled it."""
    content = b"Subject: x\r\n\r\n.one dot\r\n..two\r\n.\r\n"
    with smtplib.SMTP(*_place(lab, name), timeout=10) as client:
        client.ehlo("client.lab")
        if tls:
            context = ssl.create_default_context(cafile=str(lab.ca_file))
            context.check_hostname = False
            client._host = f"mx.{name}.lab"  # type: ignore[attr-defined] # the server name to ask for
            code, _ = client.starttls(context=context)
            assert code == 220
            client.ehlo("client.lab")
        client.mail(sender)
        code, _ = client.rcpt(f"{local}@{name}.lab")
        if code == 250:
            code, _ = client.data(content)
        return code


async def test_a_host_keeps_what_it_is_sent(lab: Lab) -> None:
    """A message arrives octet for octet, dots included, with what was seen of the connection (RFC 5321 4.5.2)."""
    assert await asyncio.to_thread(_submit, lab, "ee-301") == 250
    assert await asyncio.to_thread(_submit, lab, "ee-301", tls=False) == 250
    first, second = lab.received("ee-301.lab")
    assert first.content == b"Subject: x\r\n\r\n.one dot\r\n..two\r\n.\r\n"
    assert (first.tls, first.sni, first.helo) == ("TLSv1.3", "mx.ee-301.lab", "client.lab")
    assert (second.tls, second.sni) == ("", "")
    assert first.as_json()["recipients"] == ["user@ee-301.lab"]


async def test_replies_are_those_of_the_scenario(lab: Lab) -> None:
    """A recipient or the content gets the reply that the behaviour names, and others are taken."""
    assert await asyncio.to_thread(_submit, lab, "reply-4xx", "later") == 450
    assert await asyncio.to_thread(_submit, lab, "reply-5xx", "nobody") == 550
    assert await asyncio.to_thread(_submit, lab, "reply-5xx") == 250
    assert await asyncio.to_thread(_submit, lab, "refused-content") == 554


async def test_greylisting_lets_the_second_try_in(lab: Lab) -> None:
    """The first try of a sender and recipient gets 450, the next is taken."""
    assert await asyncio.to_thread(_submit, lab, "greylisting") == 450
    assert await asyncio.to_thread(_submit, lab, "greylisting") == 250
    assert await asyncio.to_thread(_submit, lab, "greylisting", sender="b@sender.lab") == 450


async def test_starttls_fails_in_each_way(lab: Lab) -> None:
    """STARTTLS is absent, refused with 454, or ends in a failed handshake (RFC 3207 section 4)."""

    def offered(name: str) -> tuple[bool, int]:
        with smtplib.SMTP(*_place(lab, name), timeout=10) as client:
            client.ehlo("client.lab")
            return client.has_extn("starttls"), client.docmd("STARTTLS")[0]

    assert await asyncio.to_thread(offered, "no-starttls") == (False, 502)
    assert await asyncio.to_thread(offered, "refused-starttls") == (True, 454)
    with pytest.raises(ssl.SSLError):
        await asyncio.to_thread(_submit, lab, "broken-starttls")


async def test_hosts_that_close_do(lab: Lab) -> None:
    """421 ends the connection, as a greeting and in a session (RFC 5321 section 3.8)."""

    def last_words(name: str, commands: bytes) -> bytes:
        with socket.create_connection(_place(lab, name), timeout=10) as connection:
            connection.sendall(commands)
            read = b""
            while data := connection.recv(4096):
                read += data
            return read.splitlines()[-1]

    assert (await asyncio.to_thread(last_words, "greeting-421", b"")).startswith(b"421 ")
    talk = b"EHLO x\r\nMAIL FROM:<a@b.lab>\r\nRCPT TO:<user@closing.lab>\r\n"
    assert (await asyncio.to_thread(last_words, "closing", talk)).startswith(b"421 ")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(last_words, "down", b"")


async def test_one_port_is_free_everywhere_or_nowhere() -> None:
    """All hosts share a port that is free at each address, and a lab that cannot have one says so."""
    port, sockets = free_port(["127.77.250.1", "127.77.250.2"])
    try:
        assert {one.getsockname()[1] for one in sockets} == {port}
    finally:
        for one in sockets:
            one.close()
    with pytest.raises(OSError, match="no port is free"):
        free_port(["192.0.2.1"], tries=2)


async def test_one_port_is_free_both_ways_or_no_way() -> None:
    """RFC 7766: a nameserver has the same port for TCP and UDP, whatever others have, or says that there is none."""
    port, *sockets = both_ways("127.0.0.1")
    try:
        assert {one.getsockname()[1] for one in sockets} == {port}
        assert [one.type for one in sockets] == [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    finally:
        for one in sockets:
            one.close()
    with pytest.raises(OSError, match="free for both UDP and TCP"):
        both_ways("192.0.2.1", tries=2)


# Certificates and TLSA records


def _hosts_with_tls() -> list[tuple[Scenario, Host, bool]]:
    """List hosts whose certificate OpenSSL can be asked about, with whether it should match."""
    matching = {Outcome.DELIVERED: True, Outcome.REPORTED: False}
    return [
        (scenario, scenario.hosts[0], matching[scenario.expected.outcome])
        for scenario in ALL
        if len(scenario.hosts) == 1
        and scenario.way is Way.MX
        and scenario.claims.tlsa is State.SECURE
        and not scenario.excluded
        and (scenario.expected.tls == "dane" or scenario.expected.code == str(Trouble.MISMATCH))
    ]


@pytest.mark.parametrize(
    ("scenario", "host", "matches"), _hosts_with_tls(), ids=lambda value: getattr(value, "name", "")
)
async def test_openssl_agrees_about_the_certificate(lab: Lab, scenario: Scenario, host: Host, matches: bool) -> None:  # noqa: FBT001 - a column of the table
    """OpenSSL verifies exactly the chains that a scenario says match their TLSA records (DANE-53, RFC 7672 3.1)."""
    openssl = program("openssl")
    base = scenario.canonical(host)
    response = await asyncio.to_thread(_exchange, lab, tlsa_owner(base, lab.smtp_port), "TLSA")
    records = [str(record) for rrset in response.answer if rrset.rdtype == dns.rdatatype.TLSA for record in rrset]
    command = [
        openssl, "s_client", "-starttls", "smtp", "-connect", "{}:{}".format(*_place(lab, scenario.name)),
        "-dane_tlsa_domain", base, "-dane_ee_no_namechecks", "-verify_return_error", "-brief",
    ]  # fmt: skip
    for record in records:
        usage, selector, mtype, *data = record.split()
        command += ["-dane_tlsa_rrdata", f"{usage} {selector} {mtype} {''.join(data)}"]
    done = await asyncio.to_thread(
        subprocess.run, command, input=b"QUIT\r\n", capture_output=True, timeout=30, check=False
    )
    said = done.stdout + done.stderr
    assert (b"Verification: OK" in said and b"DANE TLSA" in said) is matches, said.decode(errors="replace")


# The lab as danepipe's world


async def test_the_configuration_is_one_that_danepipe_reads(lab: Lab, tmp_path: Path) -> None:
    """The file that the lab writes is valid, and says resolver, port, routes, exclusions and special policy."""
    config = load(lab.write_config(tmp_path / "danepipe.toml", "redis://127.0.0.1:1/0"), {})
    assert config.dns.servers == (lab.resolver,)
    assert config.smtp.port == lab.smtp_port
    assert config.smtp.allow_private
    assert config.redis.url == "redis://127.0.0.1:1/0"
    assert config.local_domains == ("local.lab",)
    assert {entry.pattern for entry in config.exclusions()} == {"*@excluded.lab"}
    assert {rule.name for rule in config.route} == {"local", "rule-dane", "rule-mismatch", "rule-plain"}
    special = Destination(RouteKind.MX, "never-starttls.lab", lab.smtp_port)
    assert config.policy_for(special).dane.no_tls_attempts == 2


async def test_codes_that_are_expected_exist() -> None:
    """Expected codes are those of troubles, or of replies that settle a recipient."""
    replies = {"smtp.rcpt_deferred", "smtp.rcpt_refused", "smtp.data_refused"}
    expected = [outcome for scenario in ALL for outcome in scenario.addresses.values()]
    for one in expected:
        if one.outcome is Outcome.DELIVERED:
            assert (one.code, one.tls in {"dane", "encrypted", "none"}) == ("", True)
        else:
            assert one.code in {str(trouble) for trouble in Trouble} | replies


async def test_every_domain_tells_one_story() -> None:
    """Names and stories are unique, and a name that there is not is refused by name."""
    assert len({scenario.domain for scenario in ALL}) == len(ALL) >= 40
    assert len({scenario.story for scenario in ALL}) == len(ALL)
    with pytest.raises(ValueError, match="no scenario named nonsense"):
        named("ee-311", "nonsense")


async def test_the_manual_lists_every_domain() -> None:
    """The table of ops/docs/lab.md is the one that the scenarios make (python -m tests.ops.lab_table --write)."""
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text) == text


async def test_a_missing_unbound_is_told_in_one_sentence(tmp_path: Path) -> None:
    """Without the program, the lab says what to install."""
    with pytest.raises(NoUnbound, match=r"^the lab needs the resolver Unbound: install it \(.*apt install unbound\)$"):
        find_unbound(str(tmp_path))


async def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    """When a lab ends, its resolver, nameserver and hosts have ended, and its ports are free."""
    async with Lab.open(tmp_path / "lab", named("ee-311"), possible()) as lab:
        places = [_place(lab, "ee-311"), ("127.0.0.1", lab.nameserver.port), ("127.0.0.1", int(lab.resolver[10:]))]
        for place in places:
            with socket.create_connection(place, timeout=5):
                pass
    for place in places:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=5)
