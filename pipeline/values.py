"""How values of the configuration are written: durations, sizes, names, addresses, patterns, and lists of them.

Each type checks what it reads, says in one sentence what is wrong and what would be right, and knows how to write the
value again. Durations are written `90s`, `15m`, `4h`, `5d`, `1h30m` or as a number of seconds; sizes `50M`, `10K` or as
a number of octets; a list may also be given as words separated by commas, as the environment has it.
"""

import ipaddress
import re
import socket
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import idna
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

OFF = "off"
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def parse_duration(value: Any) -> timedelta:
    """Read a duration. Raises ValueError that says how one is written."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return timedelta(seconds=float(text))
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is no duration: write 90s, 15m, 4h, 5d, 1h30m or a number of seconds")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write a duration as `parse_duration` reads it, in the largest units that fit."""
    milliseconds = round(value.total_seconds() * 1000)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        number, milliseconds = divmod(milliseconds, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def parse_patience(value: Any) -> timedelta | Literal["off"]:
    """Read a duration, or "off" for never. Raises ValueError that says how one is written."""
    if value == OFF:
        return "off"
    duration = parse_duration(value)
    if duration < timedelta(0):
        raise ValueError(f"{value!r} is negative: write 4h, or {OFF!r} for never")
    return duration


def format_patience(value: timedelta | str) -> str:
    """Write what `parse_patience` reads."""
    return value if isinstance(value, str) else format_duration(value)


def _parse_size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{value!r} is no size: write 50M, 10K or a number of octets")
    return int(found[1]) * _SIZES[found[2].upper()]


def _domain(value: str) -> str:
    text = value.strip().rstrip(".").lower()
    try:
        encoded = idna.encode(text, uts46=True).decode() if not text.isascii() else text
    except idna.IDNAError as error:
        raise ValueError(f"{value!r} is no domain name: {error}") from error
    labels = encoded.split(".")
    if not all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?", label) for label in labels) or len(encoded) > 253:
        raise ValueError(f"{value!r} is no domain name, expected something like 'mail.example.com'")
    return encoded


def _below(value: str) -> str:
    return f"*.{_domain(value[2:])}" if value.startswith("*.") else _domain(value)


def host_name(value: str) -> str:
    """Check the name of a host, in letters, digits and hyphens. Raises ValueError for any other."""
    name = _domain(value)
    if "_" in name:
        raise ValueError(f"{value!r} is no host name: '_' must not stand in one")
    return name


def default_hostname() -> str:
    """Give the name of this machine, or localhost if it has none that may stand in EHLO."""
    name = socket.getfqdn()
    try:
        return host_name(name)
    except ValueError:
        return "localhost"


def moment(value: datetime | date) -> datetime:
    """Give the moment of an expiry: a day ends with its last second in UTC, a time without a zone is UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.combine(value + timedelta(days=1), time(), tzinfo=UTC)


def _listed(value: Any) -> Any:
    """Let the environment give a list as words separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _endpoint(value: str) -> str:
    host, colon, port = value.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        number = int(port)
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 65535:
        raise ValueError(f"{value!r} is no address and port, expected something like '127.0.0.1:2525' or '[::1]:2525'")
    return value


def _endpoint_or_off(value: str) -> str:
    if value == OFF:
        return value
    try:
        return _endpoint(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {OFF!r}") from None


def _server(value: str) -> str:
    address, at_sign, port = value.partition("@")
    try:
        ipaddress.ip_address(address)
        valid = not at_sign or 0 < int(port) < 65536
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{value!r} is no resolver, expected something like '127.0.0.1' or '127.0.0.1@5335'")
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(f"{value!r} is no network, expected something like '192.0.2.0/24' ({error})") from error


def _question(value: str) -> str:
    name, slash, rdtype = value.partition("/")
    if not slash or not name or not rdtype.isalnum():
        raise ValueError(f"{value!r} is no question, expected a name and a type such as './SOA'")
    return f"{name}/{rdtype.upper()}"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="always"),
    Field(ge=timedelta(0)),
]
Patience = Annotated[
    timedelta | Literal["off"],
    BeforeValidator(parse_patience),
    PlainSerializer(format_patience, when_used="always"),
]
Size = Annotated[int, BeforeValidator(_parse_size), Field(gt=0)]
Room = Annotated[int, BeforeValidator(_parse_size), Field(ge=0)]
Domain = Annotated[str, AfterValidator(_domain)]
HostName = Annotated[str, AfterValidator(host_name)]
Pattern = Annotated[str, AfterValidator(_below)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
EndpointOrOff = Annotated[str, AfterValidator(_endpoint_or_off)]
Server = Annotated[str, AfterValidator(_server)]
Network = Annotated[str, AfterValidator(_network)]
QuestionText = Annotated[str, AfterValidator(_question)]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_listed)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_listed)]
Servers = Annotated[tuple[Server, ...], BeforeValidator(_listed)]
Questions = Annotated[tuple[QuestionText, ...], BeforeValidator(_listed)]
Durations = Annotated[tuple[Duration, ...], BeforeValidator(_listed), Field(min_length=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_listed)]
TlsVersion = Literal["1.2", "1.3"]
TlsWord = Literal["may", "encrypt", "dane", "verify"]
