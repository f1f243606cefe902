"""The pages of the web console in a real browser: light and dark, on a desk and on a phone, for everybody."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from redis.asyncio import Redis

from pipeline.store.pulse import SLOT, PulseStore
from pipeline.store.selftests import SelfTest, SelfTestStore, Verdict
from tests.browser import PHONE, WIDE, tab
from tests.ops.console_site import PASSWORD, Site

LOOKS = [("light", WIDE), ("dark", WIDE), ("light", PHONE), ("dark", PHONE)]


async def an_hour_of_mail(redis_url: str) -> None:
    """Let there have been mail, as the parts tell of it, and self-tests of two workers."""
    now = datetime.now(UTC)
    slots = {
        int((now - timedelta(seconds=SLOT * back)).timestamp()) // SLOT: {
            "accepted": 300 + back % 37 * 4, "dane": 120 + back % 17 * 3, "opportunistic": 150 + back % 23 * 2,
            "encrypt": 40, "clear": 3, "deferred": 12 + back % 11, "failed": back % 3,
        }
        for back in range(1, 360)
    }  # fmt: skip
    client = Redis.from_url(redis_url)
    await PulseStore(client).add(slots, {}, now)
    good = Verdict(
        "127.0.0.1",
        "trusted",
        passed=True,
        text="passes its self-test",
        canaries=("./SOA: NOERROR secure, as it should be",) * 4,
    )
    bad = Verdict(
        "192.0.2.53", "trusted", passed=False, text="fails", canaries=("./SOA: NOERROR without AD, expected secure",)
    )
    for number, verdicts in enumerate(((good, bad), (good,))):
        await SelfTestStore(client).tell(SelfTest(f"mail.example.org:41{number}", now, "", verdicts))
    await client.aclose()


async def look(site: Site, browser: Browser, path: str, name: str, look: Any) -> None:
    """Open a page in one look: nothing is complained of, nobody is kept out, and nothing is cut off."""
    scheme, size = look
    async with tab(browser, site.url, size, scheme) as page:
        await page.go(path)
        if path == "/":
            await expect(page.page.locator(".u-over").first).to_be_visible()
        await page.picture(f"console-{name}-{scheme}-{size[0]}")
        assert page.complaints == []
        assert await page.barriers() == []
        assert await page.overflow() <= 0


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_pages_suit_every_look(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """Overview, resolvers and what is not there: no error in the console, nothing serious for axe, no sideways scroll."""
    await an_hour_of_mail(site.redis_url)
    await look(site, browser, "/", "overview", style)
    await look(site, browser, "/resolvers", "resolvers", style)
    async with tab(browser, site.url, style[1], style[0]) as page:
        await page.go("/resolvers")
        await page.page.get_by_role("button", name="Test now").click()
        await expect(page.page.get_by_text("Tested just now")).to_be_visible(timeout=20_000)
        await page.picture(f"console-tested-{style[0]}-{style[1][0]}")
        assert await page.barriers() == []
        assert await page.overflow() <= 0


@pytest.mark.parametrize("style", [LOOKS[0], LOOKS[3]], ids=["light", "dark-phone"])
async def test_the_login_by_keyboard(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """A user gets in with the keyboard alone, and out again; the page says what was wrong before."""
    await asyncio.to_thread(site.add_user, "alice")
    scheme, size = style
    async with tab(browser, site.url, size, scheme) as page:
        await page.go("/")
        await expect(page.page.get_by_role("heading", name="Log in")).to_be_visible()
        await page.picture(f"console-login-{scheme}-{size[0]}")
        assert await page.barriers() == []
        for password in ("wrong password", PASSWORD):
            await page.page.get_by_label("Name").focus()
            await page.page.keyboard.press("Control+A")
            await page.page.keyboard.type("alice")
            await page.page.keyboard.press("Tab")
            await page.page.keyboard.type(password)
            await page.page.keyboard.press("Enter")
            if password != PASSWORD:
                await expect(page.page.get_by_role("alert")).to_contain_text("do not belong together")
                assert await page.barriers() == []
        await expect(page.page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.page.keyboard.press("Tab")
        await expect(page.page.get_by_text("Skip to content")).to_be_focused()
        await page.page.get_by_role("button", name="Log out").press("Enter")
        await expect(page.page.get_by_text("You are logged out.")).to_be_visible()
        assert page.complaints == []


async def test_a_page_says_that_it_is_not_up_to_date(site: Site, browser: Browser) -> None:
    """While what is live cannot be fetched, such as while Redis is away, the page says so, and no longer than that."""
    async with tab(browser, site.url) as page:
        await page.go("/")
        stale = page.page.get_by_text("Not up to date")
        await expect(stale).to_be_hidden()
        for answer in (lambda route: route.fulfill(status=503), lambda route: route.abort()):
            await page.page.route(f"{site.url}/", answer)
            await page.page.evaluate("document.dispatchEvent(new Event('danepipe:beat'))")
            await expect(stale).to_be_visible()
            assert await page.barriers() == []
            await page.page.unroute_all()
            await page.page.evaluate("document.dispatchEvent(new Event('danepipe:beat'))")
            await expect(stale).to_be_hidden()


async def test_the_theme_is_kept(site: Site, browser: Browser) -> None:
    """The switch goes through auto, light and dark, and holds on the next page."""
    async with tab(browser, site.url) as page:
        await page.go("/resolvers")
        button = page.page.get_by_role("button", name="Theme")
        for word in ("light", "dark"):
            await button.click()
            await expect(button).to_have_text(f"Theme: {word}")
        await page.go("/")
        assert await page.page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.complaints == []


async def test_the_figures_are_live(site: Site, browser: Browser) -> None:
    """What changes in the queue is seen without a reload, and the numbers of the charts stand in a table as well."""
    await an_hour_of_mail(site.redis_url)
    async with tab(browser, site.url) as page:
        await page.go("/")
        await expect(page.page.locator("#now")).to_contain_text("one fails")
        client = Redis.from_url(site.redis_url)
        await client.hset("dp:held", "x/0", "1")
        await client.aclose()
        held = page.page.locator("#now .warn dd", has_text="1")
        await expect(held.first).to_be_visible(timeout=15_000)
        await page.page.get_by_text("The last minutes as a table").first.click()
        table = page.page.locator("details[open] tbody tr")
        assert await table.count() == 10
        assert "U+" not in await table.nth(1).inner_text()
        await page.picture("console-overview-table")
        assert page.complaints == []
