"""Users, logins and patience in a real Redis."""

from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from pipeline.store.users import FREE, Role, User, UserStore

ALICE = User("alice", Role.ACT, "$argon2id$x", datetime(2026, 11, 26, tzinfo=UTC), "first")


async def test_a_login_is_of_one_password(redis: Redis) -> None:
    """A login counts as long as the password that it was made with does, and no longer than it was made for."""
    store = UserStore(redis)
    assert await store.visitor("x") == (False, None)
    assert await store.add(ALICE)
    assert not await store.add(ALICE)
    secret = await store.begin(ALICE, timedelta(hours=1))
    assert await store.visitor(secret) == (True, ALICE)
    (key,) = [key async for key in redis.scan_iter("dp:session:*")]
    assert secret.encode() not in key
    assert 0 < await redis.pttl(key) <= 3_600_000
    await store.put(User("alice", Role.ACT, "$argon2id$y", ALICE.added, "second"))
    assert await store.visitor(secret) == (True, None)
    await store.put(ALICE)
    await store.end(secret)
    assert await store.visitor(secret) == (True, None)
    assert await store.remove("alice")
    assert await store.entries() == ()


async def test_pauses_grow_to_their_bounds(redis: Redis) -> None:
    """Each wrong password makes the next pause longer: to a minute for a user, a quarter of an hour for an address.

    A user has the shorter bound, since strangers could lock it out otherwise.
    """
    store = UserStore(redis)

    async def longest(kind: str) -> timedelta:
        await redis.flushall()
        found = timedelta(0)
        for number in range(FREE + 12):
            names = ("alice", f"192.0.2.{number}") if kind == "user" else (f"user{number}", "192.0.2.1")
            assert await store.knock(*names) == timedelta(0)
            other = ("alice", "198.51.100.1") if kind == "user" else ("other", "192.0.2.1")
            wait = await store.knock(*other)
            found = max(found, wait)
            async for key in redis.scan_iter("dp:guesses:*"):
                await redis.hdel(key, "until")  # as if the pause were over
        return found

    assert timedelta(seconds=59) < await longest("user") <= timedelta(minutes=1)
    assert timedelta(minutes=14) < await longest("peer") <= timedelta(minutes=15)


async def test_tries_at_once_are_no_way_round(redis: Redis) -> None:
    """A try counts before the password is looked at, so that many at the same time get as far as one after another."""
    store = UserStore(redis)
    answers = [await store.knock("alice", "192.0.2.1") for _ in range(FREE + 20)]
    assert answers.count(timedelta(0)) == FREE
    await store.welcome("alice", "192.0.2.1")
    assert await store.knock("alice", "192.0.2.1") == timedelta(0)
