"""Events: documented kinds only, one JSON object a line, whole lines."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import log
from stages.plan import Trouble


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Path]:
    """Send the events of this process to a file for the length of a test."""
    path = tmp_path / "deep" / "log.jsonl"
    before = (log._output.stream, log._output.threshold, log._output.role)
    handlers = logging.getLogger().handlers
    log.configure(role="test", file=path)
    yield path
    log._output.stream.close()
    log._output.stream, log._output.threshold, log._output.role = before
    logging.getLogger().handlers = handlers


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_one_json_line_with_its_head_first(lines: Path) -> None:
    """A reader finds time, event, level, role and pid in front, and the values of stages as plain JSON."""
    log.emit("message.done", message="M1", facts={"trouble": Trouble.MISMATCH, "wait": timedelta(seconds=2), "t": (1,)})
    (event,) = _read(lines)
    assert list(event)[:5] == ["timestamp", "event", "level", "role", "pid"]
    assert event["facts"] == {"trouble": "dane.mismatch", "wait": 2.0, "t": [1]}


def test_line_ends_in_values_cannot_forge_an_event(lines: Path) -> None:
    """Whatever a remote server says stays inside its string."""
    log.emit("message.done", message='x"}\n{"event":"forged"}')
    (event,) = _read(lines)
    assert event["message"] == 'x"}\n{"event":"forged"}'


def test_an_undocumented_event_is_a_fault_of_ours() -> None:
    """Operators alert on names: none may appear that the manual does not list."""
    with pytest.raises(ValueError, match=r"undocumented event 'message\.vanished'"):
        log.emit("message.vanished")


def test_what_libraries_warn_of_is_an_event_too(lines: Path) -> None:
    """A warning of a library must not be a line of another shape between the events."""
    logging.getLogger("some.library").warning("watch %s", "out")
    (event,) = _read(lines)
    assert (event["event"], event["library"], event["text"]) == ("log.library", "some.library", "watch out")


def test_levels_below_the_threshold_are_left_out(tmp_path: Path, lines: Path) -> None:
    """`log.level` is honoured."""
    log.configure(role="test", file=tmp_path / "quiet.jsonl", level="error")
    log.emit("message.done", message="M1")
    log.emit("stage.error", level="error", error="x")
    assert [event["event"] for event in _read(tmp_path / "quiet.jsonl")] == ["stage.error"]
    assert not _read(lines)


def test_a_full_disk_does_not_stop_the_mail(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mail that was delivered is settled also when that cannot be logged, or it would be delivered again (SMTP-57)."""
    log.configure(role="test", file=Path("/dev/full"))
    log.emit("message.done", message="M1")
    assert "could not be logged" in capsys.readouterr().err
    assert not _read(lines)
    log.configure(role="test", file=lines)
