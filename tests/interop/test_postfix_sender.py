"""A real Postfix hands its mail to our listener, with everything that it makes use of."""

import asyncio
import smtplib
from pathlib import Path

from pipeline.accept.door import Submission
from pipeline.accept.smtp import Listener, ListenerSettings
from stages.message import MessageId, Notify
from tests.delivery.certificates import leaf
from tests.interop.postfix import postfix

BODY = b"Subject: from postfix\r\n\r\n.dot at the start\r\n..\r\n" + b"x" * 900 + b"\r\n" + "ümlaut".encode() + b"\r\n"


async def test_postfix_delivers_into_our_listener(spool: Path) -> None:
    """SUB-11, SUB-18, SUB-23, SUB-28, SUB-29: STARTTLS, PIPELINING, 8BITMIME, DSN and dots, as Postfix speaks them."""
    taken: asyncio.Queue[Submission] = asyncio.Queue()

    async def submit(submission: Submission) -> MessageId:
        await taken.put(submission)
        return MessageId("ID")

    identity = leaf("out.example").pem
    listener = Listener(ListenerSettings(port=0, hostname="out.example", certificate=identity, key=identity), submit)
    await listener.start()
    try:
        settings = {"relayhost": f"[127.0.0.1]:{listener.port}", "smtp_tls_security_level": "encrypt"}
        async with postfix(spool / "postfix", settings) as sender:
            await asyncio.to_thread(_send, sender.port)
            async with asyncio.timeout(30):
                submission = await taken.get()
    finally:
        await listener.close()
    assert submission.origin.protocol == "ESMTPS"
    assert str(submission.sender) == "a@example.org"
    assert sorted(str(request.address) for request in submission.recipients) == ["b@example.com", "c@example.com"]
    assert submission.recipients[0].notify == frozenset({Notify.SUCCESS, Notify.FAILURE})
    assert submission.envid == "env-1"
    assert submission.content.partition(b"\r\n\r\n")[2] == BODY.partition(b"\r\n\r\n")[2]


def _send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail(
            "a@example.org",
            ["b@example.com", "c@example.com"],
            BODY,
            mail_options=["BODY=8BITMIME", "ENVID=env-1", "RET=HDRS"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE"],
        )
