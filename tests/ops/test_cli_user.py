"""`danepipe user`: who may log in to the console."""

import json

import pytest

from tests.ops.conftest import Run


def test_users_come_and_go(kept: Run) -> None:
    """What is added is listed with its role, and what is removed is not; the password is shown nowhere."""
    added = kept("user", "add", "alice", input=b"correct horse battery\n")
    assert (added.exit_code, added.stdout) == (0, "alice: added, may act\n")
    assert kept("user", "add", "bob@example.org", "--role", "read", input=b"correct horse battery\r\n").exit_code == 0
    rows = [json.loads(line) for line in kept("user", "list", "--json").stdout.splitlines()]
    assert [(row["name"], row["role"]) for row in rows] == [("alice", "act"), ("bob@example.org", "read")]
    shown = kept("user", "list").stdout
    assert shown.startswith("alice: may act; since 20")
    assert "argon2" not in shown
    assert kept("user", "password", "alice", input=b"another password\n").stdout == "alice: has another password\n"
    assert kept("user", "remove", "alice").stdout == "alice: removed\n"
    assert "alice" not in kept("user", "list").stdout


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("add", "a b"), b"correct horse battery\n", "is no name"),
        (("add", "alice"), b"short\n", "a password has 10 to 1000 characters"),
        (("add", "alice"), b"", "a password has 10 to 1000 characters"),
        (("add", "alice"), b"x" * 1001 + b"\n", "a password has 10 to 1000 characters"),
        (("password", "nobody"), b"correct horse battery\n", "there is no user nobody"),
        (("remove", "nobody"), b"", "there is no user nobody"),
    ],
    ids=["a name with a blank", "short", "none", "long", "whose", "who"],
)
def test_what_cannot_be_done_is_said(kept: Run, words: tuple[str, ...], given: bytes, said: str) -> None:
    """One sentence and status 1, and nothing is changed."""
    result = kept("user", *words, input=given)
    assert result.exit_code == 1
    assert said in result.stderr
    assert kept("user", "list").stdout == ""


def test_a_name_is_given_once(kept: Run) -> None:
    """Who adds a user that there is does not take its place: another password is another command."""
    kept("user", "add", "alice", input=b"correct horse battery\n")
    again = kept("user", "add", "alice", input=b"another password\n")
    assert again.exit_code == 1
    assert "danepipe user password alice" in again.stderr
