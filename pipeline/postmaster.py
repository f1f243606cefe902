"""Turn a notice owed into a message, and accept it like any other, with an empty reverse-path.

The id of a report follows from what it is about, so a report written twice (a crash between accepting it and
settling the debt) is accepted once.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from delivery.dsn import compose
from delivery.settings import DsnSettings
from pipeline.accept.door import RecipientRequest, Submission, prepare
from pipeline.store.content import ContentGone
from pipeline.store.ledger import Ledger
from stages.contract import Notice
from stages.message import Message, MessageId, Notify, Origin


class Postmaster:
    """Writes reports and puts them into the queue."""

    def __init__(
        self,
        ledger: Ledger,
        settings: DsnSettings,
        hostname: str,
        now: Callable[[], datetime],
        nudge: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._nudge = nudge
        self._settings = settings
        self._hostname = hostname
        self._now = now

    async def post(self, notice: Notice) -> MessageId:
        """Write and keep a report. Raises ValueError for a notice to the null sender, which nobody may be owed."""
        sender = notice.message.envelope.sender
        if sender is None:
            raise ValueError(f"a notice about {notice.message.id} has no sender to go to")
        now = self._now()
        identifier = report_id(notice)
        try:
            original = await self._ledger.content(notice.message)
        except ContentGone as gone:  # what it has to say is true without what it is about
            gone.tell()
            original = b""
        report = compose(
            notice, original, self._settings, f"<{identifier}@{self._hostname}>", f"={identifier}=", now,
        )  # fmt: skip
        submission = Submission(
            sender=None,
            recipients=(RecipientRequest(sender, frozenset({Notify.NEVER}), None),),
            origin=Origin("bounce"),
            content=report.content,
            smtputf8=report.smtputf8,
        )
        envelope, recipients, content = prepare(submission, self._hostname, identifier, now)
        if await self._ledger.accept(Message(identifier, envelope, recipients), content):
            await self._nudge([self._ledger.first])
        return identifier


def report_id(notice: Notice) -> MessageId:
    """Name the report about these recipients at this attempt."""
    about = [str(notice.kind), *(f"{r.id}@{r.attempts}" for r in notice.message.recipients)]
    digest = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
    return MessageId(f"{notice.message.id[:10]}R{digest}")
