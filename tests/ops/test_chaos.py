"""What the count of chaos says, on runs that are known: nothing here is hurt."""

import json
from pathlib import Path

import pytest

from ops.chaos.__main__ import main, tell
from ops.chaos.run import SHORT, Run
from ops.chaos.tally import Delivery, Entry, Tally

LOST = Delivery(1.0)  # no 250 was given
UNREAD = Delivery(1.0, 1.0)
READ = Delivery(1.0, 1.0, 1.1)
READ_TOO_LATE = Delivery(1.0, 1.0, 9.0)
READ_LATE = Delivery(1.0, 1.0, 4.9)
SECOND = Delivery(5.0, 5.0, 5.1)


@pytest.mark.parametrize(
    ("first", "explained"),
    [
        pytest.param(LOST, True, id="the far end gave no 250"),
        pytest.param(UNREAD, True, id="nobody was there to read the 250"),
        pytest.param(READ_TOO_LATE, True, id="the 250 was read when the second copy was there already"),
        pytest.param(READ_LATE, True, id="the 250 was read when the lease was over"),
        pytest.param(READ, False, id="the 250 was read before"),
    ],
)
def test_a_second_copy_is_explained_by_a_lost_250_alone(first: Delivery, *, explained: bool) -> None:
    """SMTP-57: a message comes twice only where the reply to the first copy was lost."""
    entry = Entry("m1", sent=True, id="M1", deliveries=[first, SECOND])
    assert entry.again() == ((1, 0) if explained else (0, 1))
    assert entry.fault() == ("" if explained else "twice, unexplained")


def test_a_third_copy_needs_two_lost_replies() -> None:
    """SMTP-57: one lost reply explains one more copy, and no two."""
    assert Entry("m1", id="M1", deliveries=[LOST, SECOND, Delivery(7.0)]).again() == (1, 1)


@pytest.mark.parametrize(
    ("entry", "fate", "fault"),
    [
        (Entry("m", sent=True, id="M"), "lost", "lost"),
        (Entry("m", sent=True, id="M", queued=True), "queued", ""),
        (Entry("m", sent=True, id="M", deliveries=[READ]), "delivered", ""),
        (Entry("m", sent=True, id="M", reports=[READ]), "reported", ""),
        (Entry("m", sent=True, id="M", deliveries=[READ], reports=[READ]), "delivered", "delivered and reported"),
        (Entry("m", sent=True), "refused", ""),
        (Entry("m", sent=True, deliveries=[READ]), "delivered, though not promised", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_message_has_one_fate(entry: Entry, fate: str, fault: str) -> None:
    """SMTP-50: what was answered with 250 is delivered, reported or queued; what is none of these is lost."""
    assert (entry.fate, entry.fault()) == (fate, fault)


def test_the_sum_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line of a run adds up, a loss is shouted and makes the run fail, and the ledger names the message."""
    run = Run(SHORT, 1)
    run.tally = Tally({
        "a": Entry("a", id="A", deliveries=[READ]), "b": Entry("b", id="B", reports=[READ]),
        "c": Entry("c", id="C", queued=True), "d": Entry("d", id="D"), "e": Entry("e", sent=True),
    })  # fmt: skip
    assert not tell("kill", run, 2.0)
    said = capsys.readouterr().out
    assert (
        "4 accepted = 1 delivered + 1 reported + 1 queued + 1 LOST; 0 copies after a lost 250; 1 not accepted" in said
    )
    assert "WRONG d D: lost" in said
    run.tally.write(tmp_path / "ledger", "kill")
    fates = [json.loads(line)["fate"] for line in (tmp_path / "ledger").read_text().splitlines()]
    assert fates == ["delivered", "reported", "queued", "lost", "refused"]


def test_an_unknown_fault_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a name costs no run."""
    with pytest.raises(SystemExit):
        main(["kil"])
    assert "there is no fault 'kil', there are: kill, kill-files" in capsys.readouterr().err
