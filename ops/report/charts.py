"""Charts as inline SVG: bars that stand on time, and bars that lie beside their names.

Colours are variables of the page, so that they follow light and dark; every bar says its number to a pointer and to
a screen reader (`title`). Whatever stands in a chart passes `safe`.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from ops.inert import inert

_WIDTH, _HEIGHT, _BASE = 720, 220, 190
_LEFT = 56  # room for the numbers of the axis
_LINE = 22  # height of a lying bar with its gap
_NAMES = 250  # room for names beside lying bars
_LETTERS = 38  # of a name


def safe(text: str) -> str:
    """Make the text of a stranger fit for a page: inert and escaped."""
    return escape(inert(text))


def standing(labels: Sequence[str], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Draw stacked bars, one for each label, with a legend; the key of a series is its class and its name."""
    highest = max((sum(values) for values in zip(*series.values(), strict=True)), default=0) or 1
    step = (_WIDTH - _LEFT) / max(len(labels), 1)
    bars = []
    for place, label in enumerate(labels):
        bottom = float(_BASE)
        for name, values in series.items():
            height = values[place] / highest * (_BASE - 14)
            if not height:
                continue
            bottom -= height
            bars.append(
                f'<rect class="{_class(name)}" x="{_LEFT + place * step:.1f}" y="{bottom:.1f}" '
                f'width="{max(step * 0.86, 0.6):.1f}" height="{height:.1f}">'
                f"<title>{safe(label)} {safe(name)}: {values[place]:,.0f}</title></rect>"
            )
    axis = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
        for value, y in ((0.0, float(_BASE)), (highest / 2, (_BASE + 14) / 2), (highest, 14.0))
    )
    ends = [(0, "start"), (len(labels) - 1, "end")] if len(labels) > 1 else [(0, "start")] if labels else []
    names = "".join(
        f'<text x="{_LEFT if anchor == "start" else _WIDTH}" y="{_BASE + 18}" text-anchor="{anchor}">'
        f"{safe(labels[place])}</text>"
        for place, anchor in ends
    )
    legend = "".join(
        f'<span><i class="{_class(name)}"></i>{safe(name)}</span>' for name, values in series.items() if any(values)
    )
    return (
        f'<figure><div class="legend">{legend}</div>'
        f'{_svg(_HEIGHT, title)}<g class="axis">{axis}{names}</g>{"".join(bars)}</svg></figure>'
    )


def lying(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str, unit: str = "") -> str:
    """Draw a bar for each row, its parts one after the other: each reaches from the value before to its own."""
    longest = max((parts[-1][1] for _, parts in rows if parts), default=0) or 1
    room = _WIDTH - _NAMES - 110
    lines = []
    for place, (name, parts) in enumerate(rows):
        y = place * _LINE
        short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        lines.append(f'<text x="{_NAMES - 8}" y="{y + 15}" text-anchor="end">{safe(short)}</text>')
        for (_, before), (kind, value) in pairwise([("", 0.0), *parts]):
            lines.append(
                f'<rect class="{_class(kind)}" x="{_NAMES + before / longest * room:.1f}" y="{y + 3}" '
                f'width="{max((value - before) / longest * room, 0.5):.1f}" height="{_LINE - 7}">'
                f"<title>{safe(name)} {safe(kind)}: {_number(value)}{safe(unit)}</title></rect>"
            )
        end = parts[-1][1] if parts else 0.0
        lines.append(
            f'<text x="{_NAMES + end / longest * room + 6:.1f}" y="{y + 15}">{_number(end)}{safe(unit)}</text>'
        )
    return f"<figure>{_svg(len(rows) * _LINE + 4, title)}{''.join(lines)}</svg></figure>"


def _svg(height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{safe(title)}">'


def _class(name: str) -> str:
    return "c-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
