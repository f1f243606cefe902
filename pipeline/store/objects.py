"""Bodies as objects of an S3 service, by the library obstore.

An object is durable once the service has answered. Region, credentials and the address of a service other than Amazon's
come from the usual variables (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), or from the
machine's role, so that no secret stands in a configuration file.

Raises `StoreFull` when the service says that it has no room, and `ContentUnavailable` for all else that it does.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from pipeline.store.connection import ContentUnavailable, StoreFull

CLOCK = "clock"  # the object that tells the time of the service
PAGE = 1000  # names that one question lists
FULL = ("507 Insufficient Storage", "QuotaExceeded", "XMinioStorageFull")


class ObjectStore:
    """One bucket, below a prefix."""

    def __init__(self, url: str) -> None:
        self.where = url
        with self._faults():
            self._store = S3Store.from_url(
                url,
                # only an address that AWS_ENDPOINT_URL spells with http:// goes without TLS
                client_options={"timeout": "30s", "connect_timeout": "5s", "allow_http": True},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
            )

    async def prepare(self) -> None:
        """Do nothing: a bucket needs no directories, and whoever pays for it makes it."""

    async def put(self, name: str, content: bytes) -> None:
        """Keep a body; when this returns, the service has promised to keep it."""
        with self._faults():
            await obstore.put_async(self._store, name, content)

    async def get(self, name: str) -> bytes | None:
        """Fetch a body; None if there is none."""
        with self._faults():
            try:
                found = await obstore.get_async(self._store, name)
            except FileNotFoundError:
                return None
            return bytes(await found.bytes_async())

    async def delete(self, names: Sequence[str]) -> None:
        """Delete bodies; those that are gone already are fine."""
        with self._faults():
            await obstore.delete_async(self._store, list(names))

    async def older(self, age: timedelta) -> AsyncIterator[list[str]]:
        """Name the bodies that are older, by the clock of the service."""
        await self.put(CLOCK, b"")
        with self._faults():
            before = (await obstore.head_async(self._store, CLOCK))["last_modified"] - age
            async for page in obstore.list(self._store, chunk_size=PAGE):
                yield [one["path"] for one in page if one["last_modified"] < before and "." in one["path"]]

    async def aclose(self) -> None:
        """Nothing is open between calls."""

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what obstore raises into our words; its texts go on for pages after the first line."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            text = str(error).partition("\n\nDebug source")[0]
            if any(word in text for word in FULL):
                raise StoreFull(f"{self.where} is full: {text[:300]}") from error
            raise ContentUnavailable(f"the content store {self.where} is away: {text[:300]}") from error
