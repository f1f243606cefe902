"""The destinations in a real browser: light and dark, on a desk and on a phone, live, and by the keyboard alone."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser import tab
from tests.ops.console_places import every_state, key, put, spine_at
from tests.ops.console_site import Site
from tests.ops.test_console_pages import LOOKS

FLOW = f"/destinations/{key('flow.example')}"


@pytest.fixture
async def full(site: Site) -> Site:
    """Give a console whose queue has a destination in every state."""
    async with spine_at(site.redis_url) as spine:
        await every_state(spine)
    return site


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_the_pages_suit_every_look(full: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """Table, detail, confirmation: no error, nothing serious for axe, no sideways scroll, and no script of strangers."""
    scheme, size = style
    async with tab(browser, full.url, size, scheme) as page:
        for path, name in (
            ("/destinations", "destinations"), ("/destinations/all", "all"), (FLOW, "flow"),
            (f"/destinations/{key('suspended.example')}", "suspended"), (f"{FLOW}/bounce", "bounce"),
        ):  # fmt: skip
            await page.go(path)
            if name in {"flow", "suspended"}:
                await expect(page.page.locator(".u-over").first).to_be_visible()
            await page.picture(f"console-destination-{name}-{scheme}-{size[0]}")
            assert await page.barriers() == []
            assert await page.overflow() <= 0
        assert page.complaints == []


async def test_the_table_is_live_and_keeps_its_order_and_the_keyboard(full: Site, browser: Browser) -> None:
    """What changes is seen without a reload, sorted as it was; the focus stays where it is, in the head and in a row."""
    async with tab(browser, full.url) as page:
        await page.go("/destinations?sort=name&order=up")
        row = page.page.locator("tbody tr")
        await expect(row).to_have_count(7)
        for link in ("sort-rate", f"to-{key('retry.example')}"):
            await page.page.locator(f"[id='{link}']").focus()
            async with spine_at(full.redis_url) as spine:
                await put(spine, f"NEW{len(link)}", f"a-{len(link)}.example", count=2)
            await page.page.evaluate("document.dispatchEvent(new Event('danepipe:beat'))")
            await expect(row.first).to_contain_text("a-") if link == "sort-rate" else await expect(row).to_have_count(9)
            assert await page.page.evaluate("document.activeElement.id") == link
        await page.page.locator("#sort-rate").focus()
        await page.page.keyboard.press("Enter")
        await expect(page.page.locator("th[aria-sort=descending]")).to_have_text("Rate/min")
        await expect(row.first).to_contain_text("flow.example")
        await page.page.locator(f"[id='to-{key('flow.example')}']").press("Enter")
        await expect(page.page.get_by_role("heading", level=1)).to_have_text("flow.example")
        assert page.complaints == []


async def test_dns_is_asked_on_the_page(full: Site, browser: Browser) -> None:
    """The tree of the decision comes into the page, and the keyboard can ask again."""
    async with tab(browser, full.url) as page:
        await page.go(FLOW)
        await page.page.get_by_role("button", name="Ask DNS now").press("Enter")
        await expect(page.page.get_by_text("By what DNS says now the mail would wait")).to_be_visible(timeout=20_000)
        assert page.page.url.endswith(FLOW)
        await expect(page.page.get_by_role("button", name="Ask DNS again")).to_be_enabled()
        await page.picture("console-destination-dns")
        assert await page.barriers() == []
        assert page.complaints == []


async def test_what_is_not_done_is_told(full: Site, browser: Browser) -> None:
    """A form that htmx sends and that is refused is no button without effect: the page says why."""
    async with tab(browser, full.url) as page:
        await page.go(FLOW)
        await page.page.evaluate("document.querySelector('#dns [name=token]').value = 'old'")
        await page.page.get_by_role("button", name="Ask DNS now").press("Enter")
        await expect(page.page.get_by_text("This form is out of date")).to_be_visible()


async def test_a_return_by_keyboard(full: Site, browser: Browser) -> None:
    """Typing the name is all that it takes; what was typed wrong leads back, and the page says how many it was."""
    async with tab(browser, full.url) as page:
        await page.go(f"{FLOW}/bounce")
        for text in ("wrong.example", "flow.example"):
            await page.page.get_by_label("Type flow.example").focus()
            await page.page.keyboard.type(text)
            await page.page.keyboard.press("Enter")
            if text != "flow.example":
                await expect(page.page.get_by_role("alert")).to_contain_text("Nothing was done")
                await page.picture("console-destination-bounce-wrong")
                assert await page.barriers() == []
        await expect(page.page.get_by_text("10 recipients returned to their senders.")).to_be_visible()
        assert page.complaints == []
