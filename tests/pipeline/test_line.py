"""The order of the stages is checked before anything runs, and a fault is told in a sentence."""

from dataclasses import replace

import pytest

from pipeline.line import LineError, build, registered
from stages.contract import Consignment, Level, Routed

OURS = ("route", "exclude", "resolve", "deliver", "bounce")


def test_our_own_stages_are_registered_like_anybodys() -> None:
    """The default order is built from the entry points of the installed package."""
    line = build(OURS)
    assert [stage.name for stage in line.stages] == list(OURS)
    assert line.after(line.messages[0]) is line.messages[1]
    assert line.after(line.messages[1]) is None


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("rout", "exclude", "resolve", "deliver", "bounce"), "'rout', which no installed package provides, did you mean"),
        (("exclude", "route", "resolve", "deliver", "bounce"), "stage 'exclude' takes Routed, but it is handed Message"),
        (("route", "exclude", "deliver", "bounce"), "stage 'deliver' takes Planned, but it is handed Consignment"),
        (("route", "exclude", "exclude", "resolve", "deliver", "bounce"), "more than once"),
        (("route", "resolve", "exclude", "deliver", "bounce"), "message stages first"),
        (("route", "resolve", "deliver", "bounce"), "the last message stage 'route' gives Routed, expected Consigned"),
        (("route", "exclude", "resolve", "deliver"), "must end in one stage that takes Owed"),
        (("route", "exclude", "resolve", "bounce"), "'resolve' stands wrong: the last one, and no other, must want an"),
        ((), "has no message stage"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_work_is_refused_in_a_sentence(names: tuple[str, ...], wanted: str) -> None:
    """Unknown names, repeats, types that do not chain, and missing ends are told by name."""
    with pytest.raises(LineError, match=wanted):
        build(names)


def test_a_third_stage_between_ours_runs_if_it_chains() -> None:
    """A plug-in that takes and gives what stands there fits; one that gives something else does not."""
    known = registered()
    fits = replace(known["exclude"], name="audit", takes=Routed, gives=Routed)
    assert build(("route", "audit", *OURS[1:]), {**known, "audit": fits}).messages[1] is fits
    wrong = replace(fits, gives=Consignment)
    with pytest.raises(LineError, match="stage 'exclude' takes Routed, but 'audit' gives Consignment"):
        build(("route", "audit", *OURS[1:]), {**known, "audit": wrong})
    assert fits.level is Level.MESSAGE


def test_only_a_plan_is_handed_on_for_a_ready_queue() -> None:
    """A destination stage before `resolve` chains by its types, and what it gives could not be kept for the next one."""
    known = registered()
    early = replace(known["resolve"], name="early", gives=Consignment)
    with pytest.raises(LineError, match="'early' gives Consignment, expected Planned"):
        build(("route", "exclude", "early", "resolve", "deliver", "bounce"), {**known, "early": early})
