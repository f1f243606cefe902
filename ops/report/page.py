"""A report as one HTML file: charts and tables, with nothing to fetch and nothing that runs.

The page forbids itself scripts and addresses (Content-Security-Policy), follows light and dark, and prints. Every
string of the log is made inert and escaped.
"""

from ops.report.charts import lying, safe, standing
from ops.report.findings import Cell, Report, Section
from ops.report.questions import LEVELS
from ops.report.text import columns, headline, shown, told

ROWS = 200  # of a table
BARS = 15  # of a chart
_WORDS = 32  # characters of a column whose cells stay on a line
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#fff;--card:#f5f7fa;--rule:#d8dee6;--dane:#16794c;
--host:#4fa37c;--verify:#1f6fb2;--encrypt:#5a9bd4;--may:#c9a227;--clear:#c2571a;--bad:#b3261e;--up:#7d1f5b;--wait:#8a94a3}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--paper:#12161c;--card:#1b2129;
--rule:#323b47;
--dane:#3fb57f;--host:#7fd0aa;--verify:#5aa9ea;--encrypt:#8cc1ee;--may:#e0be4e;--clear:#ea8a4f;--bad:#ef6b63;
--up:#cf73ad;--wait:#77828f}}
*{box-sizing:border-box}body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}
p{margin:.2rem 0 .6rem;color:var(--soft);max-width:80ch}.warn{color:var(--bad)}figure{margin:.4rem 0 .8rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem}
.cards div{background:var(--card);border-radius:.4rem;padding:.5rem .7rem}.cards b{display:block;font-size:1.25rem}
.cards span{color:var(--soft);font-size:.8rem}svg{display:block;overflow:visible}
.standing{padding-left:3.6rem}.standing .legend{margin-left:-3.6rem}.lying{max-width:46rem}
.track{stroke:var(--card);stroke-width:10}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.axis text{fill:var(--soft)}.axis line{stroke:var(--rule)}
.legend{display:flex;flex-wrap:wrap;gap:.1rem .9rem;margin-bottom:.3rem}
.legend span{font-size:.85rem;white-space:nowrap}
.legend i{display:inline-block;width:.7rem;height:.7rem;margin-right:.3rem}
.wide{overflow-x:auto}.wide:focus-visible{outline:2px solid var(--verify)}
table{border-collapse:collapse;min-width:min(100%,46rem);font-size:.85rem}
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--rule);vertical-align:top}
th,.s{white-space:nowrap}.t{min-width:20rem;overflow-wrap:anywhere}.n{text-align:right;font-variant-numeric:tabular-nums}
@page{size:landscape;margin:12mm}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:11px}table{font-size:8.5px}
td,th{padding:.15rem .3rem}
.t{min-width:0}.wide{overflow:visible}h2,figure{break-after:avoid}
figure,tr{break-inside:avoid}thead{display:table-header-group}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
_COLOURS = {
    "dane": "dane", "dane-host-only": "host", "verify": "verify", "encrypt": "encrypt", "opportunistic": "may",
    "clear": "clear", "refused": "bad", "given-up": "up", "deferred": "wait", "deferrals": "wait", "p50": "dane",
    "p95": "may", "p99": "clear", "recipients": "bad", "messages": "may", "other": "soft",
}  # fmt: skip


def page(report: Report) -> str:
    """Write the whole file."""
    colours = "".join(f".c-{name}{{fill:var(--{one});background:var(--{one})}}" for name, one in _COLOURS.items())
    warnings = "".join(f'<p class="warn">{safe(told(one))}</p>' for one in report.broken)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>danepipe report</title>'
        f"<style>{_STYLE}{colours}</style></head><body><h1>danepipe report</h1><p>{safe(headline(report))}</p>"
        f"{warnings}{''.join(map(_section, report.sections))}</body></html>\n"
    )


def _section(section: Section) -> str:
    head = f'<section id="{safe(section.name)}"><h2>{safe(section.title)}</h2>'
    if not section.rows:
        return f"{head}<p>none</p></section>"
    note = f"<p>{safe(section.note)}</p>" if section.note else ""
    if section.name == "totals":
        cards = "".join(
            f"<div><b>{count:,}</b><span>{safe(str(what))}</span></div>"
            for what, count in section.rows
            if isinstance(count, int)
        )
        return f'{head}{note}<div class="cards">{cards}</div></section>'
    return f"{head}{note}{_chart(section)}{_table(section)}</section>"


def _chart(section: Section) -> str:
    match section.name:
        case "over_time" | "by_hour":
            names = (*LEVELS, "refused", "given up", "deferred")
            series = {name: [_value(cell) for cell in section.column(name)] for name in names}
            return standing([shown(cell) for cell in section.column(section.columns[0])], series, section.title)
        case "security":
            rows = [(str(name), [(str(name), _value(count))]) for name, count, _ in section.rows]
            return lying(rows, section.title)
        case "deferrals":
            return lying(_bars(section, "code", "deferrals"), section.title)
        case "failures":
            codes: dict[str, float] = {}
            for code, count in zip(section.column("code"), section.column("recipients"), strict=True):
                codes[str(code)] = codes.get(str(code), 0) + _value(count)
            ordered = sorted(codes.items(), key=lambda one: -one[1])[:BARS]
            return lying([(code, [("recipients", count)]) for code, count in ordered], section.title)
        case "stages":
            spans = [
                (str(row[0]), [(mark, _value(cell)) for mark, cell in zip(section.columns[2:], row[2:], strict=True)])
                for row in section.rows
            ]
            return lying(spans, section.title, " s")
        case "audit":
            return lying(_bars(section, "domain", "messages"), section.title)
        case _:
            return ""


def _bars(section: Section, name: str, count: str) -> list[tuple[str, list[tuple[str, float]]]]:
    pairs = zip(section.column(name), section.column(count), strict=True)
    return [(str(label), [(count, _value(cell))]) for label, cell in list(pairs)[:BARS]]


def _value(cell: Cell) -> float:
    return float(cell) if isinstance(cell, (int, float)) else 0.0


def _table(section: Section) -> str:
    places = columns(section)
    rows = [[shown(one[place]) for place in places] for one in section.rows[:ROWS]]
    kinds = [_kind(section.rows[0][place], [row[at] for row in rows]) for at, place in enumerate(places)]

    def row(cells: list[str], tag: str) -> str:
        marked = (f"<{tag} class={kind}>{safe(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(marked)}</tr>"

    head = row([section.columns[place] for place in places], "th")
    body = "".join(row(cells, "td") for cells in rows)
    more = section.more + max(0, len(section.rows) - ROWS)
    rest = f"<p>{more:,} more</p>" if more else ""
    return (
        f'<div class="wide" role="region" aria-label="{safe(section.title)}: table" tabindex="0">'
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>{rest}"
    )


def _kind(first: Cell, cells: list[str]) -> str:
    """Tell how a column is set: numbers, words that stay on a line, or text, which has more of them."""
    if isinstance(first, (int, float)):
        return "n"
    return "s" if max(map(len, cells)) <= _WORDS else "t"
