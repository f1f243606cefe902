"""`danepipe config`: a file that is written can be read, and every value says where it came from."""

import json
import re
from pathlib import Path

from tests.needs import silent_port
from tests.ops.conftest import Run


def test_init_writes_what_load_reads(cli: Run, place: Path) -> None:
    """The written file changes nothing as it stands, holds every key once, and each default in it is valid."""
    assert cli("config", "init").exit_code == 0
    assert cli("config", "check").exit_code == 0
    text = (place / "danepipe.toml").read_text()
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text.partition("# [[route]]")[0], flags=re.MULTILINE)
    (place / "all.toml").write_text(uncommented)
    result = cli("--config", "all.toml", "config", "check")
    assert result.exit_code == 0, result.stderr
    again = cli("config", "init")
    assert again.exit_code == 1
    assert "danepipe.toml" in again.stderr
    assert cli("config", "init", "--force").exit_code == 0


def test_show_tells_where_values_came_from(cli: Run, place: Path) -> None:
    """Default, line of the file, variable and profile are told apart, and no password is shown."""
    (place / "x.toml").write_text('[dane]\nprofile = "rfc7672"\n\n[redis]\nurl = "redis://u:secret@h:1/0"\n')
    nobody = {"DNS__SERVERS": "127.0.0.1@1", "DNS__TIMEOUT": "100ms"}
    result = cli("--config", "x.toml", "config", "show", "--json", QUEUE__LIFETIME="2d", **nobody)
    shown = json.loads(result.stdout)
    assert shown["dane.profile"] == {"value": "rfc7672", "origin": "x.toml:2"}
    assert shown["queue.lifetime"] == {"value": "2d", "origin": "DANEPIPE_QUEUE__LIFETIME"}
    assert shown["smtp.port"] == {"value": 25, "origin": "default"}
    assert shown["dane.on_mismatch"] == {"value": "defer", "origin": "profile rfc7672"}
    assert "secret" not in result.stdout
    assert cli("config", "show", "queue.lifetime").stdout == 'queue.lifetime = "5d"  # default\n'
    assert cli("config", "show", "nope").exit_code == 1


def test_show_says_that_no_resolver_serves(cli: Run) -> None:
    """DANE-05: where no resolver passes its self-test within `dns.timeout`, it says so and that mail waits."""
    with silent_port() as port:
        server = f"127.0.0.1@{port}"
        shown = cli("config", "show", "dns.validation", DNS__SERVERS=server, DNS__TIMEOUT="100ms").stdout
    why = "its self-test does not end within 0.1 s, which is dns.timeout"
    assert shown.splitlines() == [
        'dns.validation = "auto"  # default',
        f"# dns.validation = auto: {server} is not used ({why})",
        "# dns.validation = auto: mail that DANE concerns waits: name a resolver in dns.servers",
    ]


def test_a_negative_anchor_is_shown_until_it_has_expired_and_after(cli: Run, place: Path) -> None:
    """RFC 7646: where nothing is validated stands in the file with reason and end; one that has ended is pointed out."""
    (place / "x.toml").write_text(
        '[dns]\nvalidation = "local"\n\n[[dns.negative]]\nname = "Broken.example."\n'
        'reason = "lost their keys"\nexpires = 2999-01-31\n\n[[dns.negative]]\nname = "mended.example"\n'
        'reason = "was slow"\nexpires = 2026-11-01T12:00:00Z\n'
    )
    shown = cli("--config", "x.toml", "config", "show", "dns.negative").stdout.splitlines()
    assert shown[0] == (
        'dns.negative = [{ name = "broken.example", reason = "lost their keys", expires = "2999-01-31" }, '
        '{ name = "mended.example", reason = "was slow", expires = "2026-11-01T12:00:00Z" }]  # x.toml:4'
    )
    note = "dns.negative: mended.example is validated again since 2026-11-01T12:00Z"
    assert shown[1:] == [f"# {note}"]
    assert cli("--config", "x.toml", "config", "check").stdout.splitlines() == ["x.toml: fine", note]


def test_the_variable_names_the_file(cli: Run, place: Path) -> None:
    """DANEPIPE_CONFIG stands for --config, and --config outweighs it."""
    (place / "a.toml").write_text("[smtp]\nport = 2501\n")
    (place / "b.toml").write_text("[smtp]\nport = 2502\n")
    assert "2501" in cli("config", "show", "smtp.port", CONFIG="a.toml").stdout
    assert "2502" in cli("--config", "b.toml", "config", "show", "smtp.port", CONFIG="a.toml").stdout
