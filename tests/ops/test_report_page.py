"""The page of `danepipe report --html` in a real browser: charts, light and dark, on a desk, a phone and paper."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request

from ops.report.charts import _BASE, _TOP
from tests.browser import PHONE, WIDE, Tab, tab
from tests.ops.conftest import Run
from tests.ops.test_console_pages import LOOKS
from tests.ops.test_report import EVIL, LINES, accepted, line, ruled

PAPER = (1031, 703)  # of A4, lying, between its margins, at 96 dots an inch
REASONS = ("dane.mismatch", "dns.bogus_tlsa", "smtp.rcpt_refused")


def an_hour() -> list[str]:
    """Make the log of an hour in which something happened each minute, and strangers said what they could."""
    lines = list(LINES)
    for minute in range(59):
        second, name = 60 * minute + 20, f"H{minute}"
        people = [f"u{one}@customer{minute % 9}.example" for one in range(4)]
        lines += [
            accepted(second, name, *people),
            ruled(second + 1, name, "done", "smtp.accepted", people[0], security="dane", demand="dane", host="mx.a"),
            ruled(second + 2, name, "done", "smtp.accepted", people[1], security="encrypted", demand="may", host="mx.b"),
            ruled(second + 3, name, "refuse", REASONS[minute % 3], people[2], host="mx.customer.example",
                  certificate={"subject": f"CN=mx{minute}.customer.example", "issuer": "CN=ca", "not_after": "2026-12-01",
                               "spki_sha256": "ab" * 32}),
            ruled(second + 4, name, "defer", "smtp.connect", people[3], host="mx.away.example"),
        ]  # fmt: skip
    return [
        *lines,
        accepted(3590, EVIL, f"a@{EVIL}"),
        ruled(3591, EVIL, "refuse", f"smtp.{EVIL}", f"a@{EVIL}", host=EVIL, ede=[{"code": EVIL, "text": EVIL}]),
        ruled(3592, "M2", "defer", f"smtp.{EVIL}", f"b@{'long-label.' * 20}{EVIL}", host=EVIL),
        line(3593, "resolver.suspended", text=EVIL),
        line(3594, "circuit.opened", host=EVIL, address=EVIL, port=EVIL, text=EVIL),
        line(3595, "stage.error", stage=EVIL, error=EVIL),
    ]


@pytest.fixture
def page(cli: Run, tmp_path: Path) -> str:
    """Write the report of the hour; gives the directory of page.html as an address."""
    log = tmp_path / "log"
    log.write_text("\n".join(an_hour()), encoding="utf-8")
    assert cli("report", str(log), "--by", "domain", "--html", str(tmp_path / "page.html")).exit_code == 0
    return tmp_path.as_uri()


async def opened(one: Tab) -> list[str]:
    """Open the page; gives what it asked for, and fails where a script of a stranger ran."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async def ran(dialog: object) -> None:
        one.complaints.append(f"a script ran: {dialog}")

    one.page.on("request", note)
    one.page.on("dialog", ran)
    await one.go("/page.html")
    return asked


async def cut_off(page: Page) -> list[str]:
    """Name the texts of charts that reach beyond the window, and those that lie upon another one."""
    found: list[str] = await page.evaluate(
        """() => {
          const out = [];
          for (const svg of document.querySelectorAll("svg")) {
            const boxes = [...svg.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
            for (const [text, box] of boxes) {
              if (box.left < 0 || box.right > innerWidth + 0.5) out.push("beyond: " + text);
              for (const [other, place] of boxes) {
                if (place !== box && box.left < place.right && place.left < box.right && box.top < place.bottom - 2
                    && place.top < box.bottom - 2) out.push("upon each other: " + text + " " + other);
              }
            }
          }
          return out;
        }"""
    )
    return found


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_the_report_suits_every_look(page: str, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """It asks for nothing, runs nothing, complains of nothing, cuts nothing off, and keeps nobody out."""
    scheme, size = style
    async with tab(browser, page, size, scheme) as one:
        assert await opened(one) == [f"{page}/page.html"]
        await one.picture(f"report-{scheme}-{size[0]}")
        assert one.complaints == []
        assert await cut_off(one.page) == []
        assert await one.overflow() <= 0
        assert await one.barriers() == []
        assert await one.page.locator("script").count() == 0
        paper = await one.page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = all(int(part) < 60 for part in re.findall(r"\d+", paper)[:3])
        assert dark == (scheme == "dark")


async def test_its_charts_are_drawn_to_scale(page: str, browser: Browser) -> None:
    """Bars are as long as their numbers say, in a colour of their own, and say them to who cannot see them."""
    async with tab(browser, page, WIDE) as one:
        await opened(one)
        bars = one.page.locator("#failures svg rect")
        lengths = [await bars.nth(place).evaluate("one => one.getBoundingClientRect().width") for place in range(3)]
        counts = [int((await bars.nth(place).text_content() or "").rpartition(" ")[2]) for place in range(3)]
        assert counts == sorted(counts, reverse=True)
        for length, count in zip(lengths, counts, strict=True):
            assert length / lengths[0] == pytest.approx(count / counts[0], abs=0.01)
        columns = one.page.locator("#over_time svg rect")
        assert await columns.count() >= 4 * 59
        tallest = await one.page.evaluate(
            "Math.max(...[...document.querySelectorAll('#over_time svg')].map(one => one.getBBox().height))"
        )
        assert tallest >= _BASE - _TOP
        colours = await columns.evaluate_all("all => [...new Set(all.map(one => getComputedStyle(one).fill))]")
        assert len(colours) >= 4


async def test_it_prints(page: str, browser: Browser) -> None:
    """On paper it is dark on light, as wide as the sheet, and of some sheets; nothing scrolls there."""
    async with tab(browser, page, PAPER, "dark") as one:
        await opened(one)
        await one.page.emulate_media(media="print", color_scheme="dark")
        await one.picture("report-print")
        assert await cut_off(one.page) == []
        assert await one.overflow() <= 0
        widest = await one.page.evaluate(
            "Math.max(...[...document.querySelectorAll('table')].map(one => one.scrollWidth))"
        )
        assert widest <= PAPER[0]
        ink = await one.page.evaluate("getComputedStyle(document.body).color")
        assert all(int(part) < 60 for part in re.findall(r"\d+", ink)[:3])
        sheets = await one.page.pdf(prefer_css_page_size=True, print_background=True)
        assert 2 <= sheets.count(b"/Type /Page\n") <= 30


# to wait for a text of script, as Playwright does, is forbidden by the page's own policy
_SCROLLED = """() => new Promise(done => {
    const one = document.activeElement
    one.scrollLeft > 0 ? done() : one.addEventListener("scroll", () => done(), {once: true})
})"""


async def test_its_tables_scroll_by_keyboard_on_a_phone(page: str, browser: Browser) -> None:
    """A table that is wider than a phone can be reached and moved with the keyboard, and its text is no thin column."""
    async with tab(browser, page, PHONE) as one:
        await opened(one)
        wide = one.page.get_by_role("region", name="Failures: table")
        await wide.focus()
        await one.page.keyboard.press("ArrowRight")
        await one.page.evaluate(_SCROLLED)
        text = wide.locator("td.t").first
        assert await text.evaluate("one => one.getBoundingClientRect().width") >= 300
