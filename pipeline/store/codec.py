"""Turn the values of `stages` into JSON for Redis and back.

One adapter a type, made once: pydantic checks what comes back, so that a value written by another version, or by
hand, is a clear error (`CodecError`) and never a half-filled object.
"""

from functools import cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

T = TypeVar("T")


class CodecError(Exception):
    """Something in Redis is not what we wrote there."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # an Optional, because pydantic takes a config only for types that cannot have one of their own
    return TypeAdapter(kind | None, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


def encode(kind: Any, value: object) -> bytes:
    """Write a value of the given type as JSON."""
    return _adapter(kind).dump_json(value)


def decode(kind: type[T], data: bytes | str) -> T:
    """Read a value of the given type. Raises `CodecError` with the type and the first fault."""
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # types are hashable, whatever typeshed says
    try:
        value = adapter.validate_json(data)
    except ValidationError as error:
        name = getattr(kind, "__name__", str(kind))
        raise CodecError(f"not a {name} as this version writes it: {error.errors()[0]}") from error
    if value is None:
        raise CodecError(f"not a {getattr(kind, '__name__', kind)}: null")
    return value
