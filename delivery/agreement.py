"""Two sources of security, which decide only what they agree on.

What the AD bit of a resolver says and what our own validation proves are held against each other. Where one of them
knows nothing, nothing is decided; where they contradict each other, the answer is indeterminate: the mail waits, and
the text tells both stories, since one of the two is wrong and somebody should look.
"""

from datetime import datetime

from stages.answer import Absent, Answer, Failed, Failure, Found


def agreed(said: Answer, proven: Answer, until: datetime) -> Answer:
    """Give what a resolver said and we have proven, or a failure to be remembered `until` then."""
    if _state(said) == _state(proven):
        return proven
    for one in (said, proven):
        if isinstance(one, Failed) and one.failure is not Failure.BOGUS:
            return one
    text = f"the resolver says {_story(said)}, our own validation says {_story(proven)}"
    return Failed(said.question, Failure.INDETERMINATE, text, until, resolver=said.resolver, chain=proven.chain)


def _state(answer: Answer) -> tuple[object, ...]:
    """Give what two sources must agree on. The records themselves may differ: big domains answer by turns."""
    match answer:
        case Found(security=security):
            return ("found", security)
        case Absent(security=security, nxdomain=nxdomain):
            return ("absent", security, nxdomain)
        case Failed(failure=failure):
            return ("failed", failure is Failure.BOGUS)


def _story(answer: Answer) -> str:
    match answer:
        case Found(security=security):
            return str(security)
        case Absent(security=security, nxdomain=nxdomain):
            return f"{security} {'nxdomain' if nxdomain else 'nodata'}"
        case Failed(failure=failure, text=text):
            return f"{failure} ({text})"
