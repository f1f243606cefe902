"""The configuration: contract names, errors that say where and what, overrides for domains, and origins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from delivery.settings import Timeouts
from pipeline.config import ConfigError, find_file, load
from pipeline.values import format_duration, parse_duration
from stages.destination import Destination, RouteKind, TlsLevel
from stages.policy import Mode, OnFailure, Profile


def _file(directory: Path, text: str) -> Path:
    path = directory / "danepipe.toml"
    path.write_text(text)
    return path


def test_every_key_of_the_contract_is_known(tmp_path: Path) -> None:
    """Users write these names; none may disappear."""
    config = load(
        _file(
            tmp_path,
            """
            hostname = "out.example.com"
            local_domains = ["example.com", "bücher.example"]
            [listen]
            smtp = "127.0.0.1:2526"
            max_size = "10M"
            max_recipients = 200
            allow = ["10.0.0.0/8"]
            [redis]
            url = "redis://127.0.0.1:6379/0"
            [store]
            dir = "/tmp/x"
            [dns]
            servers = ["127.0.0.1@5335"]
            validation = "trusted"
            trust = ["192.0.2.0/24"]
            timeout = "3s"
            anchor_file = "/tmp/root.key"
            [smtp]
            port = 2525
            source_address = ["192.0.2.1"]
            [tls]
            min_version = "1.3"
            ca_file = "/tmp/ca.pem"
            [dane]
            mode = "audit"
            profile = "exchange"
            on_mismatch = "bounce"
            [queue]
            lifetime = "3d"
            retry = ["5m", "1h"]
            [log]
            file = "/tmp/log"
            level = "debug"
            format = "console"
            [[route]]
            recipient = ["*@hosted.example"]
            sender = ["*@example.com"]
            source = ["10.0.0.0/8"]
            action = "host"
            host = "relay.example"
            port = 587
            tls = "verify"
            [[exclude]]
            pattern = "*@old.example"
            reason = "broken"
            owner = "ops"
            expires = 2030-01-01
            [[destination]]
            domain = "*.gov.example"
            tls = "encrypt"
            [destination.dane]
            mode = "mandatory"
            [destination.limits]
            connections = 2
            """,
        ),
        {},
    )
    assert config.local_domains == ("example.com", "xn--bcher-kva.example")
    assert config.listen.max_size == 10 * 1024**2
    assert config.queue.retry == (timedelta(minutes=5), timedelta(hours=1))
    assert config.route[0].tls == "verify"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('[dane]\nprofle = "exchange"', ":2: dane.profle: unknown key, did you mean 'profile'?"),
        ('[dane]\nmode = "enfrce"', ":2: dane.mode: input should be 'off', 'audit', 'enforce' or 'mandatory'"),
        ('[dns]\n\ntimeout = "5x"', ":3: dns.timeout: '5x' is no duration: write 90s, 15m"),
        ('[[route]]\naction = "mx"\n[[route]]\naction = "host"', ":3: route[2]: action 'host' needs a host"),
        ('[[destination]]\ndomain = "a.b"\n[destination.dane]\nmod = 1', "destination[1].dane.mod: unknown key"),
        ("[dane\n", "not TOML"),
        ('[listen]\nsmtp = "localhost"', "expected something like '127.0.0.1:2525'"),
        ('[listen]\ncertificate = "x.pem"', "certificate and key belong together"),
        ('[dns]\nservers = ["dns.example"]', "'dns.example' is no resolver"),
        ('[dns]\nservers = ["127.0.0.1@"]', "'127.0.0.1@' is no resolver"),
        ('[dns]\nvalidation = "locl"', ":2: dns.validation: input should be 'auto', 'trusted', 'local' or 'both'"),
        (
            '[dns]\nanchor_file = "/nonexistent/root.key"',
            ":2: dns.anchor_file: /nonexistent/root.key: cannot be read: no such file or directory",
        ),
        ('[[dns.negative]]\nname = "example.com"\nexpires = 2026-12-31', ":1: dns.negative[1].reason: field required"),
        ('[[dns.negative]]\nname = "."\nreason = "x"\nexpires = 2026-12-31', ":2: dns.negative[1].name: '.' is no"),
        ('[[dns.negative]]\nname = "a.example"\nreason = "x"', ":1: dns.negative[1].expires: field required"),
        ('[dns]\nvalidation = "trusted"\n[dane]\nbogus_proof = "validator"', "could never bounce"),
    ],
)
def test_a_fault_names_file_line_key_and_what_would_be_right(tmp_path: Path, text: str, wanted: str) -> None:
    """A typo or a bad value is told at its place."""
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(path) in str(caught.value)
    assert wanted in str(caught.value)


def test_the_environment_outweighs_the_file_and_is_named(tmp_path: Path) -> None:
    """A variable wins, `origin` tells where each value came from, and a bad variable is named in the error."""
    path = _file(tmp_path, '[dane]\nmode = "off"\nprofile = "exchange"\n')
    config = load(path, {"DANEPIPE_DANE__MODE": "mandatory", "DANEPIPE_DNS__SERVERS": "127.0.0.1,127.0.0.2@53"})
    assert config.dane.mode is Mode.MANDATORY
    assert config.dane.profile is Profile.EXCHANGE
    assert config.dns.servers == ("127.0.0.1", "127.0.0.2@53")
    assert config.origin("dane.mode") == "DANEPIPE_DANE__MODE"
    assert config.origin("dane.profile") == f"{path}:3"
    assert config.origin("queue.lifetime") == "default"
    with pytest.raises(ConfigError, match=r"DANEPIPE_QUEUE__LIFETIM: queue.lifetim: unknown key, did you mean"):
        load(path, {"DANEPIPE_QUEUE__LIFETIM": "1d"})


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    """A named file that is missing is an error, never the defaults."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load(tmp_path / "nowhere.toml", {})


def test_the_longest_matching_destination_decides(tmp_path: Path) -> None:
    """DANE-22, DANE-101, TLS-08: an override says what differs; the rest comes from the general sections."""
    config = load(
        _file(
            tmp_path,
            """
            [dane]
            on_mismatch = "defer"
            [[destination]]
            domain = "*.example"
            tls = "encrypt"
            [[destination]]
            domain = "a.example"
            [destination.dane]
            mode = "mandatory"
            [[destination]]
            domain = "may.example"
            tls = "may"
            """,
        ),
        {},
    )
    below = config.policy_for(Destination(RouteKind.MX, "x.b.example", 25))
    exact = config.policy_for(Destination(RouteKind.MX, "a.example", 25))
    may = config.policy_for(Destination(RouteKind.MX, "may.example", 25))
    other = config.policy_for(Destination(RouteKind.MX, "example", 25))
    assert (below.floor, below.dane.mode) == (TlsLevel.ENCRYPT, Mode.ENFORCE)
    assert (exact.floor, exact.dane.mode, exact.dane.on_mismatch) == (TlsLevel.MAY, Mode.MANDATORY, OnFailure.DEFER)
    assert may.dane.mode is Mode.OFF
    assert (other.floor, other.dane.mode) == (TlsLevel.MAY, Mode.ENFORCE)


@pytest.mark.parametrize("text", ["90s", "15m", "4h", "5d", "1h30m", "250ms", "1d12h"])
def test_durations_are_written_as_they_are_read(text: str) -> None:
    """What `config show` prints can be put into the file again."""
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@contextmanager
def _closed(directory: Path) -> Iterator[None]:
    """Close a directory to this process, which gives up being root for as long as that takes."""
    mode, root = directory.stat().st_mode, os.geteuid() == 0
    directory.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(mode)


def test_places_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory of somebody else's has no file for us; a configuration that is closed to us is an error."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "danepipe.toml"
    file.touch()
    assert find_file((Path("danepipe.toml"),)) == Path("danepipe.toml")
    with _closed(tmp_path):
        assert find_file((Path("danepipe.toml"),)) is None
        with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
            find_file((Path("danepipe.toml"), file))


def test_limits_of_a_destination_say_only_what_differs(tmp_path: Path) -> None:
    """A key that `[destination.limits]` leaves out comes from `[limits]`, and not from the default."""
    config = load(
        _file(
            tmp_path,
            "[limits]\nconnections = 4\nmessages_per_connection = 7\n"
            '[[destination]]\ndomain = "slow.example"\nlimits = { connections = 2 }\n',
        ),
        {},
    )
    slow = config.policy_for(Destination(RouteKind.MX, "slow.example", 25)).limits
    assert (slow.connections, slow.messages_per_connection, slow.recipients_per_transaction) == (2, 7, 100)


def test_durations_among_the_limits_reach_the_policy_as_such(tmp_path: Path) -> None:
    """`limits.idle` is a length of time to whoever delivers, not the text that the file, or the manual, says it with."""
    config = load(
        _file(
            tmp_path,
            '[limits]\nidle = "1m30s"\n'
            '[[destination]]\ndomain = "own.example"\nlimits = { idle = "4s" }\n'
            '[[destination]]\ndomain = "other.example"\nlimits = { connections = 2 }\n',
        ),
        {},
    )
    names = ("any.example", "own.example", "other.example")
    idle = [config.policy_for(Destination(RouteKind.MX, name, 25)).limits.idle for name in names]
    assert idle == [timedelta(seconds=90), timedelta(seconds=4), timedelta(seconds=90)]


def test_the_timers_of_smtp_are_those_of_the_rfc_and_each_can_be_set() -> None:
    """SMTP-26, SUB-35 (RFC 5321 4.5.3.2): five minutes for greeting and commands, two for DATA, three a block, ten for the dot."""
    made = load(None, {}).smtp_settings().timeouts
    minutes = {"greeting": 5, "command": 5, "data": 2, "block": 3, "dot": 10}
    assert {name: getattr(made, name) for name in minutes} == {name: 60 * n for name, n in minutes.items()}
    assert all(getattr(Timeouts(), name) == 60 * n for name, n in minutes.items())
    assert load(None, {}).listen.timeout >= timedelta(minutes=5)
    changed = load(None, {f"DANEPIPE_SMTP__{name.upper()}_TIMEOUT": "7s" for name in [*minutes, "connect"]})
    assert {getattr(changed.smtp_settings().timeouts, name) for name in [*minutes, "connect"]} == {7.0}


def test_the_schedule_by_default_and_as_it_is_set() -> None:
    """SMTP-51, SMTP-52, DSN-06 (RFC 5321 4.5.4.1): 30 min twice, 1 h, 2 h, then every 3 h for five days; a notice at 4 h."""
    made = load(None, {}).schedule()
    assert made.intervals == tuple(timedelta(minutes=minutes) for minutes in (30, 30, 60, 120, 180))
    assert (made.lifetime, made.bounce_lifetime) == (timedelta(days=5), timedelta(days=1))
    assert made.delay_notice == timedelta(hours=4)
    given = {"LIFETIME": "4d", "BOUNCE_LIFETIME": "2d", "RETRY": "1h,2h", "DELAY_NOTICE": "6h", "JITTER": "0"}
    other = load(None, {f"DANEPIPE_QUEUE__{name}": text for name, text in given.items()}).schedule()
    assert (other.lifetime, other.bounce_lifetime, other.delay_notice) == tuple(timedelta(hours=h) for h in (96, 48, 6))
    assert (other.intervals, other.jitter) == ((timedelta(hours=1), timedelta(hours=2)), 0.0)


def test_reports_come_from_a_person() -> None:
    """DSN-25, DSN-29 (RFC 3464 2): the postmaster of this host writes them, or whom the configuration names."""
    made = load(None, {"DANEPIPE_HOSTNAME": "out.example.com"}).dsn_settings()
    assert (made.reporting_mta, made.postmaster) == ("out.example.com", "postmaster@out.example.com")
    named = {"DANEPIPE_HOSTNAME": "out.example.com", "DANEPIPE_BOUNCE__POSTMASTER": "help@example.com"}
    assert load(None, named).dsn_settings().postmaster == "help@example.com"


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_a_listener_open_to_all_is_refused(network: str) -> None:
    """DSN-22, SUB-32 (RFC 5321 6.2, 7.8): an open relay would send reports to whoever is named as a sender: not started."""
    with pytest.raises(ConfigError, match=r"listen\.allow.*would let the whole Internet send mail"):
        load(None, {"DANEPIPE_LISTEN__ALLOW": f"192.0.2.0/24,{network}"})
    assert "0.0.0.0/0" not in load(None, {}).listen.allow


def test_addresses_of_ours_are_compared_in_one_spelling() -> None:
    """SMTP-14: an own IPv6 address is known however it is written."""
    policy = load(None, {"DANEPIPE_SMTP__OWN_ADDRESSES": "2001:DB8:0::1,192.0.2.1"}).policy_for(
        Destination(RouteKind.MX, "example.com", 25)
    )
    assert policy.own_addresses == {"2001:db8::1", "192.0.2.1"}


def test_what_a_profile_sets_can_be_switched_off(tmp_path: Path) -> None:
    """DSN-06: "off" is never: no delay notice, no early end; a negative time is refused by its key."""
    path = _file(tmp_path, '[dane]\nprofile = "exchange"\nbounce_after = "off"\n[queue]\ndelay_notice = "off"\n')
    config = load(path, {})
    policy = config.policy_for(Destination(RouteKind.MX, "example.com", 25, TlsLevel.DANE))
    assert policy.dane.bounce_after is None
    assert policy.dane.retry == (timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=1))
    assert config.schedule().delay_notice is None
    assert dict(config.items())["queue.delay_notice"] == "off"
    with pytest.raises(ConfigError, match=r"queue\.delay_notice: .*-5 is negative"):
        load(_file(tmp_path, "[queue]\ndelay_notice = -5\n"), {})
