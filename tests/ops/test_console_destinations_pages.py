"""The destinations in a real browser: light and dark, on a desk and on a phone, live, and by the keyboard alone."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser import chromium, tab
from tests.ops.console_places import every_state, key, spine_at
from tests.ops.console_site import Site
from tests.ops.test_console_pages import LOOKS

FLOW = f"/destinations/{key('flow.example')}"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run a browser."""
    async with chromium() as one:
        yield one


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
