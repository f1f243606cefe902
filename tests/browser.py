"""A real browser in tests: Chromium, driven by Playwright, with what it complained of and what axe-core finds.

Screenshots go into the directory that TEST_ARTEFACTS names, else into one that the system forgets.
"""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.async_api import Browser, Page, async_playwright

from tests.needs import program

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_NAMED = os.environ.get("TEST_ARTEFACTS")  # not DANEPIPE_: those are settings, and an unknown one is an error
WIDE, PHONE = (1280, 900), (390, 844)
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def artefacts() -> Path:
    """Give the directory of the screenshots."""
    place = Path(_NAMED) if _NAMED else Path(tempfile.gettempdir()) / "danepipe-artefacts"
    place.mkdir(parents=True, exist_ok=True)
    return place


class Tab:
    """One page of the browser. `complaints` are the errors of its console and of its scripts."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.on("pageerror", lambda error: self._heard("error", str(error)))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    async def go(self, path: str) -> None:
        """Open a page."""
        await self.page.goto(f"{self.url}{path}")

    async def picture(self, name: str) -> Path:
        """Keep what is seen, the whole length of the page."""
        path = artefacts() / f"{name}.png"
        await self.page.screenshot(path=path, full_page=True)
        return path

    async def barriers(self) -> list[str]:
        """Give what axe-core calls serious or critical: what keeps somebody from using the page."""
        await self.page.evaluate(_AXE)
        found: dict[str, Any] = await self.page.evaluate("axe.run(document)")
        return [
            f"{one['id']} ({one['impact']}): {node['html']} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    async def overflow(self) -> int:
        """Give by how many pixels the page is wider than the window: a phone should not have to scroll sideways."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run the browser, or skip the test; with CI=true its absence is a failure."""
    path = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(browser: Browser, url: str, size: tuple[int, int] = WIDE, scheme: Any = "light") -> AsyncIterator[Tab]:
    """Open a window of its own, with cookies of its own, of that size and colour scheme."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    try:
        yield Tab(await context.new_page(), url)
    finally:
        await context.close()
