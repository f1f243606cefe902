"""A try of DANE without mail, where mail for an excluded domain would go.

The destination is inspected as a sender by RFC 7672 would see it: DNS, then each address up to TLS and the match
(`delivery.inspection`). What is found there is a sentence; nothing is kept and nobody is told of it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from delivery.inspection import Inspection, Means, inspect
from pipeline.outfit import resolver_of
from pipeline.spine import Spine
from stages.destination import Destination
from stages.plan import DaneDemand, Trouble

AWAY = frozenset({Trouble.CONNECT, Trouble.TIMEOUT})  # tells nothing of DANE, if another address of the host does


async def tried(spine: Spine, destination: Destination, now: Callable[[], datetime]) -> str:
    """Try a destination, and say what keeps DANE from passing; empty if it passes."""
    config = spine.config
    resolver = resolver_of(spine)
    try:
        means = Means(resolver, config.smtp_settings(), config.dns.timeout.total_seconds(), now)
        return judged(await inspect(replace(destination, excluded=False), config.policy_for(destination), means))
    finally:
        await resolver.aclose()


def judged(seen: Inspection) -> str:
    """Say what keeps DANE from passing; empty if it passes at every host: none may be left out, or be without DANE."""
    if seen.plan.skipped:
        left_out = seen.plan.skipped[0]
        return f"{left_out.name}: {left_out.text}"
    if not seen.hosts:
        return "there is no host to send to"
    for looked in seen.hosts:
        host = looked.host
        if not isinstance(host.demand, DaneDemand):
            return f"{host.name} has no usable secure TLSA records"
        troubles = [(one, one.trouble) for one in looked.seen if one.trouble not in AWAY]
        for one, trouble in troubles:
            if trouble is not None:
                text = one.judgement.text if one.attempt.trouble is None and one.judgement else one.attempt.text
                return f"{host.name} ({one.attempt.address}): {text}"
        if not troubles:
            return f"{host.name} could not be reached"
    return ""
