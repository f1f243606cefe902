"""`danepipe config`: a file that is written can be read, and every value says where it came from."""

import json
import re
from pathlib import Path

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
    result = cli("--config", "x.toml", "config", "show", "--json", QUEUE__LIFETIME="2d")
    shown = json.loads(result.stdout)
    assert shown["dane.profile"] == {"value": "rfc7672", "origin": "x.toml:2"}
    assert shown["queue.lifetime"] == {"value": "2d", "origin": "DANEPIPE_QUEUE__LIFETIME"}
    assert shown["smtp.port"] == {"value": 25, "origin": "default"}
    assert shown["dane.on_mismatch"] == {"value": "defer", "origin": "profile rfc7672"}
    assert "secret" not in result.stdout
    assert cli("config", "show", "queue.lifetime").stdout == 'queue.lifetime = "5d"  # default\n'
    assert cli("config", "show", "nope").exit_code == 1


def test_the_variable_names_the_file(cli: Run, place: Path) -> None:
    """DANEPIPE_CONFIG stands for --config, and --config outweighs it."""
    (place / "a.toml").write_text("[smtp]\nport = 2501\n")
    (place / "b.toml").write_text("[smtp]\nport = 2502\n")
    assert "2501" in cli("config", "show", "smtp.port", CONFIG="a.toml").stdout
    assert "2502" in cli("--config", "b.toml", "config", "show", "smtp.port", CONFIG="a.toml").stdout
