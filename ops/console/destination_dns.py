"""What a plan for a destination would be now: DNS is asked anew, with the proof of each answer, and nothing is sent.

It takes a form of ours, since a link on another site could cause questions otherwise. Each is worked on in a thread, a
few at a time, and for so long at most.
"""

import asyncio

from ops.cli.explain import explained_destination
from ops.console.aside import aside
from ops.console.destination import target
from ops.console.destinations import address
from ops.console.page import Answer, Call
from ops.console.tree import decisive, tree_of
from ops.explain import Explanation
from pipeline.spine import utc_now
from stages.message import Address

LONGEST = 15.0  # seconds
_turns = asyncio.Semaphore(2)


async def ask(call: Call) -> Answer:
    """Ask DNS, and show what was decided by its answers."""
    one = target(call)
    bound = await aside(call, _turns, LONGEST, lambda: explained_destination(call.config, one))
    found = Explanation(Address("postmaster", one.name, f"postmaster@{one.name}"), None, utc_now(), (), (bound,))
    return {
        "title": f"What DNS says of {one.name}", "one": one, "path": address(one.key), "verdict": decisive(found),
        "tree": tree_of(found), "made": found.made,
    }  # fmt: skip
