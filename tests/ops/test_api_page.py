"""The page that shows the document of the HTTP API, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Request, expect

from ops.api.table import OPERATIONS
from tests.browser import tab
from tests.ops.test_api import Server, running
from tests.ops.test_console_pages import LOOKS


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one process for all tests."""
    with running(tmp_path_factory.mktemp("api"), redis_url) as one:
        yield one


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_the_page_of_the_api(server: Server, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """It shows every operation, asks this server alone, complains of nothing, and keeps nobody out."""
    scheme, size = style
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async with tab(browser, server.url, size, scheme) as page:
        page.page.on("request", note)
        await page.go("/docs")
        await expect(page.page.locator("h2")).to_have_count(len(OPERATIONS))
        await page.page.locator("summary").first.press("Enter")
        await page.picture(f"api-docs-{scheme}-{size[0]}")
        assert page.complaints == []
        assert await page.barriers() == []
        assert await page.overflow() <= 0
        assert {url.removeprefix(server.url) for url in asked} <= {"/docs", "/openapi.json", "/favicon.ico"}
