"""What a worker needs beside the spine: the resolver, who fetches facts, and the courier.

`check_parts` finds out beforehand what would keep it from being made. Only processes that ask DNS or send mail import
this, as what it stands on takes more memory than all the rest.
"""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any

from delivery.courier import Courier
from delivery.resolver import Resolver
from delivery.survey import survey
from pipeline import log
from pipeline.config import Config
from pipeline.facts import Context, gatherers
from pipeline.gates import Gates
from pipeline.line import build
from pipeline.parking import Parking
from pipeline.postmaster import Postmaster
from pipeline.rollover import Dns, Rollover
from pipeline.runner import Limits, Runner, Tools
from pipeline.spine import Spine, redis_url, utc_now
from pipeline.store.answers import SharedAnswers
from pipeline.store.connection import connect
from pipeline.store.exclusions import ExclusionStore
from pipeline.store.rollover import RolloverStore
from pipeline.store.zonekeys import SharedZoneKeys
from stages.contract import Stage
from stages.destination import Destination
from stages.resolve import Survey


def check_parts(config: Config) -> None:
    """Find out, without Redis and DNS, what would keep a worker from starting. Raises `ConfigError`, `LineError`."""
    line = build(config.pipeline.stages)
    resolver = Resolver(config.dns_settings(), now=utc_now)
    exclusions = ExclusionStore(connect(redis_url(config)))
    gatherers(Context(config, resolver, exclusions, utc_now, random.random), line.stages)


def resolver_of(spine: Spine) -> Resolver:
    """Make the resolver of this process, with the shared cache behind its own."""
    return Resolver(
        spine.config.dns_settings(), now=utc_now,
        shared=SharedAnswers(spine.redis), shared_keys=SharedZoneKeys(spine.redis),
        on_event=lambda name, fields: log.emit(name, level=_level(name, fields), **fields),
    )  # fmt: skip


def runner_of(
    spine: Spine,
    resolver: Resolver,
    runs: Callable[[Stage], bool] = lambda _stage: True,
    parking: Parking | None = None,
) -> Runner:
    """Make the runner of a worker process; `runs` tells which stages that process runs."""
    config, ledger, nudge = spine.config, spine.ledger, spine.nudge
    jitter = random.Random(int.from_bytes(os.urandom(8)))  # noqa: S311 - spreads load, protects nothing
    context = Context(config, resolver, spine.exclusions, utc_now, jitter.random)
    policy_for = config.policy_for
    gates = Gates(spine.gates, config.gates(), utc_now, jitter.random, ledger.hush, parking)

    async def ask(destination: Destination) -> Survey:
        return await survey(destination, policy_for(destination), resolver, utc_now, jitter.random(), afresh=True)

    postmaster = Postmaster(ledger, config.dsn_settings(), config.hostname, utc_now, nudge)
    return Runner(
        Tools(
            line=spine.line,
            ledger=ledger,
            gatherers=gatherers(context, spine.line.stages),
            courier=Courier(config.smtp_settings()),
            schedule=config.schedule(),
            post=postmaster.post,
            nudge=nudge,
            policy_for=policy_for,
            now=utc_now,
            chance=jitter.random,
            limits=Limits(lease=config.work.lease, fair_share=config.work.fair_share),
            runs=runs,
            parking=parking,
            gates=gates,
            rollover=Rollover(RolloverStore(spine.redis), gates, Dns(ask, resolver.drop), policy_for, utc_now),
        ),
    )


def _level(event: str, fields: Mapping[str, Any]) -> str:
    """Give the weight of what a resolver tells: mail stands still, something is amiss, or all is well."""
    if event in {"resolver.suspended", "resolver.disagreement"}:
        return "error"
    return "warning" if event in {"resolver.cache", "resolver.limit"} or fields.get("passed") is False else "info"
