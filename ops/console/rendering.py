"""Pages made of templates: what every template knows, and how values are printed.

Everything is escaped, and characters that do not print are shown as their codes, without a word in the template. What
a template names and nobody gave is an error. Files are named with a digest of what they hold, so that browsers may
keep them for ever.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from ops.inert import visible

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_SUFFIXES = frozenset({".css", ".js", ".svg"})


class Files:
    """The files that pages load: each with its octets, its type, and a digest in its address."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for path in sorted(_STATIC.rglob("*")):
            if path.suffix in _SUFFIXES:
                octets = path.read_bytes()
                kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                self._files[path.relative_to(_STATIC).as_posix()] = (
                    octets,
                    kind,
                    hashlib.sha256(octets).hexdigest()[:16],
                )

    def url(self, name: str) -> str:
        """Give the address of a file. Raises KeyError for one that is not there."""
        return f"/static/{name}?{self._files[name][2]}"

    async def answer(self, request: Request) -> Response:
        """Give a file."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return Response("there is no such file\n", 404, media_type="text/plain")
        octets, kind, digest = found
        kept = "public, max-age=31536000, immutable" if request.url.query == digest else "no-cache"
        return Response(octets, media_type=kind, headers={"Cache-Control": kept})


def _printed(value: Any) -> Any:
    """Print what a template names: nothing for None, and no character that hides."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def stamp(moment: datetime) -> str:
    """Write a moment for machines (RFC 3339), in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def clock(moment: datetime) -> str:
    """Write a moment for people, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(length: timedelta | float) -> str:
    """Write how long something takes or took, in its largest unit and the next one."""
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    counts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        counts.append((number, unit))
    first = next((place for place, (number, _) in enumerate(counts) if number), len(counts) - 1)
    shown = [f"{number} {unit}" for number, unit in counts[first : first + 2] if number]
    return sign + (" ".join(shown) or "0 s")


def octets(size: float) -> str:
    """Write a size."""
    units = ["octets", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} octets" if units[0] == "octets" else f"{size:.1f} {units[0]}"


def number(value: int) -> Markup:
    """Write a number with thin gaps between thousands."""
    return Markup(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))  # noqa: S704 - made of digits


class Templates:
    """The templates, ready to be rendered."""

    def __init__(self, files: Files) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            finalize=_printed, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.filters |= {
            "stamp": stamp, "clock": clock, "span": span, "octets": octets, "number": number,
            "column": "{}#".format,  # one of numbers, for the macro `table`
        }  # fmt: skip
        self._environment.globals["static"] = files.url

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Render one."""
        return self._environment.get_template(template).render(values)
