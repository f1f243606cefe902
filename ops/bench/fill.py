"""Fill the ledger with deferred mail, as fast as Redis can write it: a queue of a million takes a minute or two.

A script in Redis writes what `Ledger` writes for a message that was tried once and waits: the same keys with the same
fields, made from one real message by putting other names in. `tests/ops/test_bench.py` holds the two side by side.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.bench.load import Load
from pipeline.accept.address import parse_address
from pipeline.store.changes import milliseconds
from pipeline.store.codec import encode
from pipeline.store.packing import pack
from stages.message import Content, Envelope, Message, MessageId, Origin, Recipient, State, recipient_id
from stages.reason import Reason

_MARK, _DOMAIN = "MARKMARKMARKMARK", "mark-mark.example"  # as long as the names that stand for them
_AT_ONCE = 200  # messages that one script writes
_SCRIPT = """
-- ARGV: prefix, first number, how many, domains, accepted (ms), due (ms), envelope, recipient, content, mark, domain.
local p = ARGV[1]
for number = tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1 do
  local id = string.format('MILLION%09d', number)
  local domain = string.format('d%08d.example', number % ARGV[4])
  local recipient = string.gsub(string.gsub(ARGV[8], ARGV[10], id), ARGV[11], domain)
  local key, stands = p .. 'msg:' .. id, 'schedule:mx:' .. domain .. ':25:dane|' .. id .. '/0'
  local made = '0123456789ab.' .. number .. ' 1 '
  redis.call('HSET', key, 'envelope', ARGV[7], 'r:0', recipient, 'open', 1, 'w:0', stands, 'c:0', made)
  if ARGV[9] ~= '' then redis.call('SET', p .. 'body:' .. id, ARGV[9]) end
  redis.call('ZADD', p .. 'messages', ARGV[5], id)
  redis.call('ZADD', p .. 'schedule', ARGV[6], id .. '/0')
  redis.call('ZADD', p .. 'deferred:mx:' .. domain .. ':25:dane', ARGV[6], id .. '/0')
  redis.call('ZINCRBY', p .. 'deferred', 1, 'mx:' .. domain .. ':25:dane')
end
"""


@dataclass(frozen=True, slots=True)
class Filling:
    """How much is in the queue, and since when: messages, domains in turn, octets of each, accepted and due."""

    messages: int
    domains: int
    size: int
    accepted: datetime
    due: datetime

    @property
    def content(self) -> bytes:
        """Give the content of each message."""
        return Load(1, 1, self.size).message()

    def message(self, number: int) -> Message:
        """Give one of the messages: it was tried once, its host could not be reached, and it waits."""
        return self._named(f"MILLION{number:09}", f"d{number % self.domains:08}.example")

    def destination(self, number: int) -> str:
        """Name the destination that one of the messages waits for."""
        return f"mx:d{number % self.domains:08}.example:25:dane"

    def _named(self, name: str, domain: str) -> Message:
        identifier, sender = MessageId(name), parse_address("sender@here.example")
        tried = self.accepted + timedelta(seconds=1)
        why = Reason(
            "deliver", "smtp.connect", "4.4.1", "no connection to any host: connection refused",
            facts={"destination": "host:[127.0.0.1]:25:may"}, remote="127.0.0.1",
        )  # fmt: skip
        one = Recipient(recipient_id(identifier, 0), parse_address(f"user@{domain}"))
        one = replace(
            one, state=State.DEFERRED, attempts=1, first_attempt=tried, last_attempt=tried, next_attempt=self.due,
            failing_since=tried, failures=1, reason=why,
        )  # fmt: skip
        origin = Origin("smtp", "192.0.2.10", "client.example")
        envelope = Envelope(sender, self.accepted, origin, Content(len(self.content)))
        return Message(identifier, envelope, (one,))

    def arguments(self) -> list[object]:
        """Give what all calls of the script have in common, from the times on."""
        pattern = self._named(_MARK, _DOMAIN)
        return [
            milliseconds(self.accepted), milliseconds(self.due), encode(Envelope, pattern.envelope),
            encode(Recipient, pattern.recipients[0]), pack(self.content), _MARK, _DOMAIN.replace("-", "%-"),
        ]  # fmt: skip


def filling(messages: int, domains: int, size: int, wait: timedelta = timedelta(hours=6)) -> Filling:
    """Give a queue that was accepted now and is due after a while."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Filling(messages, domains, size, now, now + wait)


def fill(redis: Any, what: Filling, prefix: str = "dp:") -> None:
    """Write it (over a synchronous client), a few scripts in a trip; nothing is durable before Redis says so."""
    script = redis.register_script(_SCRIPT)
    sha, common = redis.script_load(script.script), what.arguments()
    for start in range(0, what.messages, 20 * _AT_ONCE):
        with redis.pipeline(transaction=False) as pipe:
            for first in range(start, min(start + 20 * _AT_ONCE, what.messages), _AT_ONCE):
                count = min(_AT_ONCE, what.messages - first)
                pipe.evalsha(sha, 0, prefix, first, count, what.domains, *common)
            pipe.execute()
