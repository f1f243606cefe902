"""Exclusions and suspensions of the web console in a real browser: light and dark, on a desk and on a phone."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, Page, expect
from redis.asyncio import Redis

from pipeline.store.exclusions import ExclusionStore
from pipeline.store.gates import GateStore, Kind, Suspension
from pipeline.store.ledger import Ledger
from pipeline.store.rechecks import RecheckStore, Tried
from stages.exclude import Exclusion
from tests.browser import PHONE, WIDE, Tab, tab
from tests.ops.console_site import Site
from tests.ops.test_cli_suspend import ready
from tests.ops.test_console_exclusions import EVIL
from tests.ops.test_console_pages import LOOKS

NOW = datetime.now(UTC)
THEN = NOW - timedelta(days=3)


async def lists(site: Site) -> None:
    """Let there be exclusions and suspensions of every sort, some with texts of strangers."""
    client = Redis.from_url(site.redis_url)
    store = ExclusionStore(client)
    month, kind = NOW + timedelta(days=30), "command"
    for entry in (
        Exclusion("*@partner.example", "TLSA of the old key; their host master is told", "postmaster", THEN, month, kind,
                  until_passing=True),
        Exclusion("*@*.lab.example", "test domains without DNSSEC", "alice", THEN, None, kind),
        Exclusion("invoices@supplier.example", EVIL, EVIL, THEN, NOW - timedelta(hours=5), kind),
        Exclusion("*@mended.example", "records did not match", "bob", THEN, None, kind),
    ):  # fmt: skip
        await store.add(entry)
    tries = RecheckStore(client)
    why = "mx1.partner.example (192.0.2.25): no TLSA record matches the certificate: 3 1 1 e410ca7e48e833f2"
    await tries.keep("*@partner.example", Tried(NOW - timedelta(minutes=50), passes=False, text=why))
    await tries.keep("*@mended.example", Tried(NOW - timedelta(hours=7), passes=True, text=""))
    gates = GateStore(client)
    for suspension in (
        Suspension(Kind.DESTINATION, "*.example.net", "they asked us to wait until their move is over", "alice", THEN,
                   month),
        Suspension(Kind.SITE, "mx.example.com", EVIL, EVIL, THEN),
        Suspension(Kind.SENDER, "*@example.org", "complaints", "postmaster", THEN, NOW - timedelta(minutes=1)),
    ):  # fmt: skip
        await gates.suspend(suspension)
    await ready(Ledger(client))
    await client.aclose()


async def suits(page: Tab, name: str) -> None:
    """Keep a picture; nothing is complained of, nobody is kept out, and nothing is cut off."""
    await page.picture(f"console-{name}")
    assert page.complaints == []
    assert await page.barriers() == []
    assert await page.overflow() <= 0


async def unfold(page: Page, text: str) -> None:
    """Open a form by the keyboard."""
    await page.get_by_text(text, exact=True).press("Enter")


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_the_lists_suit_every_look(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """Lists, forms that are wrong and questions are for everybody, in light and dark, wide and narrow."""
    await lists(site)
    scheme, size = style
    look = f"{scheme}-{size[0]}"
    async with tab(browser, site.url, size, scheme) as page:
        await page.go("/exclusions?address=Bob@mail.lab.example")
        await suits(page, f"exclusions-{look}")
        await unfold(page.page, "Add an exclusion")
        await page.page.get_by_label("Pattern", exact=True).fill("*@*.lab.example")
        await page.page.get_by_label("Reason").fill("kept as it was written")
        await page.page.get_by_label("Ends").fill("some day")
        await page.page.get_by_label("Until it passes").check()
        await page.page.get_by_role("button", name="Exclude", exact=True).click()
        await expect(page.page.get_by_label("Ends")).to_be_focused()
        await expect(page.page.get_by_label("Ends")).to_have_accessible_description(re.compile("write a day"))
        await suits(page, f"exclusions-wrong-{look}")
        await page.go("/suspensions")
        await suits(page, f"suspensions-{look}")
        await unfold(page.page, "Suspend mail")
        await suits(page, f"suspensions-form-{look}")
        await page.page.get_by_role("button", name="Resume sender *@example.org").click()
        await expect(page.page.get_by_role("heading", name="Resume mail")).to_be_visible()
        await suits(page, f"suspensions-resume-{look}")


async def test_an_exclusion_by_keyboard(site: Site, browser: Browser) -> None:
    """An exclusion is added, found by an address, and removed after a question, with the keyboard alone."""
    async with tab(browser, site.url, WIDE) as page:
        await page.go("/exclusions")
        await suits(page, "exclusions-none")
        await unfold(page.page, "Add an exclusion")
        await page.page.keyboard.press("Tab")
        await expect(page.page.get_by_label("Pattern", exact=True)).to_be_focused()
        await page.page.keyboard.type("*@x.example")
        await page.page.keyboard.press("Enter")
        await expect(page.page.get_by_role("status")).to_have_text("*@x.example: added.")
        await page.page.get_by_label("Check an address").fill("bob@x.example")
        await page.page.keyboard.press("Enter")
        await expect(page.page.get_by_role("status")).to_have_text(
            "bob@x.example is excluded from DANE by *@x.example."
        )
        await page.page.get_by_role("button", name="Remove *@x.example").press("Enter")
        await suits(page, "exclusions-remove")
        await page.page.get_by_role("link", name="Leave it as it is").press("Enter")
        await page.page.get_by_role("button", name="Remove *@x.example").press("Enter")
        await page.page.get_by_role("button", name="Remove it").press("Enter")
        await expect(page.page.get_by_text("Nothing is excluded")).to_be_visible()
        await expect(page.page.get_by_role("cell", name="remove", exact=True).first).to_be_visible()  # the history
        await page.picture("console-exclusions-history")
        assert page.complaints == []


async def test_a_suspension_on_a_phone(site: Site, browser: Browser) -> None:
    """What was wrong is told beside the field, without losing anything; then mail waits, and goes on again."""
    async with tab(browser, site.url, PHONE) as page:
        await page.go("/suspensions")
        await unfold(page.page, "Suspend mail")
        await page.page.get_by_label("Kind").select_option("sender")
        await page.page.get_by_label("Name").fill("no address")
        await page.page.get_by_role("button", name="Suspend", exact=True).click()
        await expect(page.page.get_by_label("Name")).to_be_focused()
        await expect(page.page.get_by_label("Kind")).to_have_value("sender")
        await page.page.get_by_label("Name").fill("*@example.org")
        await page.page.get_by_role("button", name="Suspend", exact=True).click()
        await expect(page.page.get_by_role("status")).to_have_text("sender *@example.org: suspended.")
        await page.page.get_by_role("button", name="Resume sender *@example.org").click()
        await page.page.get_by_role("button", name="Resume it").click()
        await expect(page.page.get_by_text("Nothing is suspended.")).to_be_visible()
        assert page.complaints == []
