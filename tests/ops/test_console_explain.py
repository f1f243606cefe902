"""The page of the web console that explains the whole decision, against a lab's DNS and mail hosts."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from redis import Redis

from ops.console.tree import Node, decisive, tree_of
from ops.explain import explain as decide
from ops.explain import message_to
from ops.lab.demo import possible
from ops.lab.scenarios import named
from ops.lab.world import Lab
from stages.message import Origin
from stages.route import Action, Rule
from tests.browser import PHONE, WIDE, tab
from tests.ops.console_site import Site, Visit, running
from tests.ops.lab_beside import lab_beside
from tests.ops.test_explain import ADDRESS, means
from tests.pipeline.test_ledger import NOW

SCENARIOS = named("ee-311", "mismatch", "two-mx", "expired-tlsa", "insecure-mx", "excluded")
GOOD, MISMATCH, BROKEN, EXCLUDED = (
    f"user@{named(one)[0].domain}" for one in ("ee-311", "mismatch", "expired-tlsa", "excluded")
)
LOOKS = [("light", WIDE), ("dark", WIDE), ("light", PHONE), ("dark", PHONE)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab of few domains."""
    with lab_beside(tmp_path_factory.mktemp("lab"), SCENARIOS, possible()) as one:
        yield one


@pytest.fixture(scope="module")
def console_of_lab(lab: Lab, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a console that asks the lab's DNS."""
    place = tmp_path_factory.mktemp("console")
    lab.write_config(place / "danepipe.toml", redis_url)
    patient = {"DNS__SERVERS": lab.resolver, "DNS__TIMEOUT": "2s", "DNS__ATTEMPTS": "2", "DNS__RETRY": "300ms"}
    with running(place, redis_url, **patient) as one:
        yield one


@pytest.fixture
def site(console_of_lab: Site) -> Site:
    """Give the console, on an empty Redis without users."""
    with Redis.from_url(console_of_lab.redis_url) as client:
        client.flushall()
    return console_of_lab


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """Give a browser."""
    with site.visit() as one:
        yield one


def test_the_form_asks_and_a_link_answers(visit: Visit, lab: Lab) -> None:
    """The form leads to a link that can be kept: verdict on top, then each step, with records and chains below."""
    assert "What would become of mail" in visit.see("/explain").text
    answer = visit.submit("/explain", address=GOOD)
    assert answer.status_code == 303
    page = visit.see(answer.headers["location"]).text
    told = ["delivery would be tried", "First to ", "DANE", "Stage route", "Destination mx:", "TLSA", "secure",
            "DANE-EE(3) SPKI(1) SHA2-256(1)", "Plan"]  # fmt: skip
    assert [part for part in told if part not in page] == []
    assert page.index("delivery would be tried") < page.index("Stage route") < page.index("Plan")
    assert "Connections" not in page
    assert lab.received(GOOD.rpartition("@")[2]) == ()


def test_the_same_as_json(visit: Visit) -> None:
    """The link beside it gives what `danepipe explain --json` gives."""
    answer = visit.get("/explain.json", params={"address": BROKEN})
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert (found["version"], found["address"], found["outcome"]) == (1, BROKEN, "refuse")
    assert visit.get("/explain.json?address=@").status_code == 422


def test_a_domain_by_itself(visit: Visit) -> None:
    """Of a domain its postmaster is asked about, whom every domain has (RFC 5321 section 4.5.1)."""
    domain = GOOD.rpartition("@")[2]
    assert visit.get("/explain.json", params={"address": domain}).json()["address"] == f"postmaster@{domain}"


def test_a_broken_record_set_is_on_top(visit: Visit) -> None:
    """A bogus answer shows what is wrong, and it is what decides (DANE-08)."""
    page = visit.see(f"/explain?address={BROKEN}").text
    top = page[page.index('class="verdict') : page.index('<div class="explain">')]
    assert "the mail would be returned" in top
    assert "dns.bogus_tlsa" in top
    assert 'class="badge bad">bogus' in page


def test_connections_show_the_certificate(visit: Visit, lab: Lab) -> None:
    """By the form it connects to the hosts, up to TLS and the match, and shows why nothing matched; nothing is sent."""
    visit.see("/explain")
    page = visit.submit("/explain", address=MISMATCH, connect="yes").text
    for part in (
        "the mail would be returned",
        "dane.mismatch",
        "TLS and certificate",
        "cert sha256",
        "not after",
        "TLSv1.",
    ):
        assert part in page, part
    found = visit.submit("/explain", address=MISMATCH, connect="yes", **{"as": "json"}).json()
    assert found["destinations"][0]["connections"][0]["outcome"] == "dane.mismatch"
    assert lab.received(MISMATCH.rpartition("@")[2]) == ()


def test_a_link_connects_to_nobody(site: Site, visit: Visit) -> None:
    """A link, which another site may hold, makes no connection, and who may only look makes none either."""
    assert (
        visit.get("/explain.json", params={"address": GOOD, "connect": "yes"}).json()["destinations"][0]["connections"]
        == []
    )
    site.add_user("bob", role="read")
    visit.login("bob")
    page = visit.see(f"/explain?address={GOOD}").text
    assert "delivery would be tried" in page
    assert "connect" not in page.lower().partition("<main")[2]
    assert visit.submit("/explain", address=GOOD, connect="yes").status_code == 403
    assert visit.submit("/explain", address=GOOD).status_code == 303


def test_an_exclusion_is_told(visit: Visit) -> None:
    """The entry that excludes is named."""
    assert "excluded from DANE" in visit.see(f"/explain?address={EXCLUDED}").text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("address=<script>x</script>\N{RIGHT-TO-LEFT OVERRIDE}@b", "&lt;script&gt;x"),
        ("address=a b@example.com", 'aria-invalid="true"'),
        ("address=u@example.com&sender=@@", 'aria-invalid="true"'),
        ("address=u@example.com&source=pigeon", 'aria-invalid="true"'),
        ("address=" + "x" * 3000, 'aria-invalid="true"'),
        ("address=u@no-such-domain.nowhere", 'class="verdict'),
    ],
)
def test_wrong_input_is_told_in_the_form(visit: Visit, query: str, said: str) -> None:
    """What is no address stands in the form again, inert, with what is wrong."""
    answer = visit.get(f"/explain?{query}")
    assert answer.status_code == 200
    assert said in answer.text
    assert "<script>x" not in answer.text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in answer.text


def flat(nodes: tuple[Node, ...]) -> list[Node]:
    """Give all nodes of a tree."""
    return [one for node in nodes for one in (node, *flat(node.below))]


async def test_a_refusal_by_a_rule_is_a_tree_without_destination() -> None:
    """What a message stage refuses ends there, and is what decides."""
    found = await decide(message_to(ADDRESS, None, Origin("send"), NOW), means((Rule("no", Action.REFUSE),)))
    verdict = decisive(found)
    assert (verdict.outcome, verdict.kind) == ("refuse", "bad")
    assert verdict.text
    assert not [one for one in flat(tree_of(found)) if one.label.startswith("Destination")]


# In a browser


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_the_tree_suits_every_look(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """Good, broken and mismatched: no error, nothing serious for axe with all of it open, no sideways scroll."""
    scheme, size = style
    async with tab(browser, site.url, size, scheme) as page:
        for name, address, connect in (("good", GOOD, False), ("broken", BROKEN, False), ("mismatch", MISMATCH, True)):
            await page.go("/explain")
            await page.page.get_by_label("Address or domain").fill(address)
            await page.page.get_by_label("Connect to every host").set_checked(connect)
            await page.page.get_by_role("button", name="Explain").press("Enter")
            await expect(page.page.get_by_role("region", name="Verdict")).to_be_visible(timeout=20_000)
            await page.picture(f"console-explain-{name}-{scheme}-{size[0]}")
            await page.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            if name == "mismatch":
                await page.picture(f"console-explain-{name}-open-{scheme}-{size[0]}")
            assert page.complaints == []
            assert await page.barriers() == []
            assert await page.overflow() <= 0


async def test_the_tree_needs_no_script(site: Site, browser: Browser) -> None:
    """Branches open and close by keyboard, in a browser without JavaScript."""
    context: Any = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.url}/explain?address={GOOD}")
    summary = page.locator("summary", has_text="/TLSA").first
    record = page.get_by_text("DANE-EE(3) SPKI(1) SHA2-256(1)").first
    await expect(record).to_be_hidden()
    await summary.press("Enter")
    await expect(record).to_be_visible()
    await summary.press("Enter")
    await expect(record).to_be_hidden()
    await context.close()
