"""Charts as inline SVG: bars that stand on time, and bars that lie below their names.

Nothing is scaled: places along a chart are shares of its width, so that letters are as large on a phone as on paper.
Colours are variables of the page, so that they follow light and dark; every bar says its number to a pointer and to
a screen reader (`title`). Whatever stands in a chart passes `safe`.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from ops.inert import inert

_HEIGHT, _BASE, _TOP = 220, 190, 14
_LINE = 34  # height of a lying bar with its name
_LETTERS = 38  # of a name: what fits beside a number on a phone
_WIDEST = 6.0  # hundredths of the width that a standing bar may have


def safe(text: str) -> str:
    """Make the text of a stranger fit for a page: inert and escaped."""
    return escape(inert(text))


def standing(labels: Sequence[str], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Draw stacked bars, one for each label, with a legend; the key of a series is its class and its name."""
    highest = max((sum(values) for values in zip(*series.values(), strict=True)), default=0) or 1
    step = 100 / max(len(labels), 1)
    bars = []
    for place, label in enumerate(labels):
        bottom = float(_BASE)
        for name, values in series.items():
            height = values[place] / highest * (_BASE - _TOP)
            if not height:
                continue
            bottom -= height
            bars.append(
                f'<rect class="{_class(name)}" x="{place * step:.2f}%" y="{bottom:.1f}" '
                f'width="{min(max(step * 0.86, 0.1), _WIDEST):.2f}%" height="{height:.1f}">'
                f"<title>{safe(label)} {safe(name)}: {values[place]:,.0f}</title></rect>"
            )
    axis = "".join(
        f'<line x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        for value, y in ((0.0, float(_BASE)), (highest / 2, (_BASE + _TOP) / 2), (highest, float(_TOP)))
    )
    ends = [(0, "start"), (len(labels) - 1, "end")] if len(labels) > 1 else [(0, "start")] if labels else []
    names = "".join(
        f'<text x="{"0" if anchor == "start" else "100%"}" y="{_BASE + 18}" text-anchor="{anchor}">'
        f"{safe(labels[place])}</text>"
        for place, anchor in ends
    )
    legend = "".join(
        f'<span><i class="{_class(name)}"></i>{safe(name)}</span>' for name, values in series.items() if any(values)
    )
    return (
        f'<figure class="standing"><div class="legend">{legend}</div>'
        f'{_svg(_HEIGHT, title)}<g class="axis">{axis}{names}</g>{"".join(bars)}</svg></figure>'
    )


def lying(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str, unit: str = "") -> str:
    """Draw a bar for each row, its parts one after the other: each reaches from the value before to its own."""
    longest = max((parts[-1][1] for _, parts in rows if parts), default=0) or 1
    kinds = (
        dict.fromkeys(kind for _, parts in rows for kind, _ in parts) if any(len(row[1]) > 1 for row in rows) else ()
    )
    lines = []
    for place, (name, parts) in enumerate(rows):
        y = place * _LINE
        short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        end = parts[-1][1] if parts else 0.0
        lines.append(
            f'<text x="0" y="{y + 14}">{safe(short)}</text>'
            f'<text x="100%" y="{y + 14}" text-anchor="end">{_number(end, unit)}</text>'
            f'<line class="track" x1="0" x2="100%" y1="{y + 24}" y2="{y + 24}"/>'
        )
        for (_, before), (kind, value) in pairwise([("", 0.0), *parts]):
            lines.append(
                f'<rect class="{_class(kind)}" x="{before / longest * 100:.2f}%" y="{y + 19}" '
                f'width="{max((value - before) / longest * 100, 0.1):.2f}%" height="10">'
                f"<title>{safe(name)} {safe(kind)}: {_number(value, unit)}</title></rect>"
            )
    legend = "".join(f'<span><i class="{_class(kind)}"></i>{safe(kind)}</span>' for kind in kinds)
    legend = f'<div class="legend">{legend}</div>' if legend else ""
    return f'<figure class="lying">{legend}{_svg(len(rows) * _LINE + 4, title)}{"".join(lines)}</svg></figure>'


def _svg(height: int, title: str) -> str:
    return f'<svg width="100%" height="{height}" role="img" aria-label="{safe(title)}">'


def _class(name: str) -> str:
    return "c-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _number(value: float, unit: str = "") -> str:
    if unit == " s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    return (f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}") + safe(unit)
