"""Signatures over record sets (RFC 4035 section 5.3), and the keys of a zone that its DS records vouch for.

`verify` takes a record set as secure if any one signature over it is good (RFC 6840 section 5.4); a signature that is
unfit, foreign or of an unsupported algorithm is as good as absent. `trusted_keys` takes a zone's key set as secure if
a key that a DS record or an anchor names has signed it (RFC 4035 section 5.2). Whatever octets come in, both answer
with a value: a key that cannot be read has signed nothing. Only work beyond the bounds raises, `BudgetExceeded`,
since then a good signature may be among those that nobody looked at.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dns.name
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from delivery.dnssec.limits import Budget, BudgetExceeded, Rules
from delivery.dnssec.primitives import fits

BOGUS, EXPIRED, NOT_YET, NO_KEY, NO_SIGNATURE, NO_ZONE_KEY = 6, 7, 8, 9, 10, 11  # info-codes of RFC 8914
_TELLING = (NO_SIGNATURE, NO_KEY, NO_ZONE_KEY, NOT_YET, EXPIRED, BOGUS)  # of several faults the last one is told

_ZONE, _REVOKE = 0x0100, 0x0080  # flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 2.1)
_SHA1 = 1
_LONGEST = 65_535  # octets of record data; names that came compressed may be more when they are written out
_DIGESTS: Mapping[int, Callable[[bytes], "hashlib._Hash"]] = {
    _SHA1: lambda octets: hashlib.sha1(octets, usedforsecurity=False),
    2: hashlib.sha256,
    4: hashlib.sha384,
}

Index = Mapping[tuple[int, int], Sequence[DNSKEY]]


@dataclass(frozen=True, slots=True)
class SignedSet:
    """A record set, and the RRSIG records that came at its owner name and cover its type, with their TTL."""

    rrset: dns.rrset.RRset
    signatures: tuple[RRSIG, ...]
    signatures_ttl: int = 2**31 - 1


class Keys(tuple[DNSKEY, ...]):  # noqa: SLOT001 - a tuple can have none
    """The keys of a zone, sorted once: thousands of them then cost no more than they are many."""

    @cached_property
    def tagged(self) -> Index:
        """Give them by algorithm and tag."""
        index: dict[tuple[int, int], list[DNSKEY]] = {}
        for key in self:
            index.setdefault((int(key.algorithm), key_tag(key)), []).append(key)
        return index

    @cached_property
    def serving(self) -> Index:
        """Give those that may sign, by the algorithms and tags of all."""
        return {place: [key for key in keys if serves(key)] for place, keys in self.tagged.items()}


@dataclass(frozen=True, slots=True)
class Verified:
    """One good signature: by whom, for how long, and how long the set may be kept (RFC 4035 section 5.3.3).

    `wildcard` is the owner name that the set was made from, `*.x`: it counts only with a proof that no closer name
    exists (RFC 4035 section 5.3.4). None if the set is there under its own name.
    """

    signer: dns.name.Name
    algorithm: int
    key_tag: int
    expires: datetime
    ttl: int
    inception: datetime
    expiration: datetime
    wildcard: dns.name.Name | None


@dataclass(frozen=True, slots=True)
class Broken:
    """No signature is good: why, in one line, and the matching info-code of RFC 8914."""

    why: str
    code: int


def verify(
    signed: SignedSet, zone: dns.name.Name, keys: Sequence[DNSKEY], now: datetime, rules: Rules, budget: Budget
) -> Verified | Broken:
    """Check a record set with the secure keys of the zone that holds it (RFC 4035 section 5.3).

    Raises `BudgetExceeded` if there is more to try than the rules allow, and none of what was tried is good.
    """
    rrset, now = signed.rrset, now.astimezone(UTC).replace(microsecond=0)
    told: tuple[int, RRSIG | None, str] = (NO_SIGNATURE, None, "is missing")
    # RFC 4034 section 6: the form, lowering names by type as RFC 6840 section 5.1 says, is dnspython's `to_digestable`
    records = sorted({rdata.to_digestable() for rdata in rrset})
    if not records or max(map(len, records)) > _LONGEST:
        return Broken(f"{_named(rrset)} has no record, or one that no zone can hold", BOGUS)
    index = (keys if isinstance(keys, Keys) else Keys(keys)).serving
    checks = 0
    untried = False
    for rrsig in signed.signatures:
        serving = index.get((int(rrsig.algorithm), rrsig.key_tag))
        fault = _unfit(rrsig, rrset, zone, rules) or _untimely(rrsig, now, rules.skew)
        if fault is not None:
            pass
        elif serving is None:
            fault = (NO_KEY, "is by a key that the zone does not have")
        elif not serving:
            fault = (NO_ZONE_KEY, "is by a key that is revoked, or not for signing zones")
        else:
            octets = _signed_octets(rrset, records, rrsig)
            for key in serving[: rules.same_tag_keys]:
                if checks == rules.checks_per_set:
                    raise BudgetExceeded(f"more than {checks} signature checks for {_named(rrset)}")
                budget.check()
                checks += 1
                if fits(key, rrsig.signature, octets):
                    return _verified(signed, rrsig, now)
            untried = untried or len(serving) > rules.same_tag_keys
            fault = (BOGUS, "does not fit the records")
        if told[1] is None or _TELLING.index(fault[0]) > _TELLING.index(told[0]):
            told = (fault[0], rrsig, fault[1])
    if untried:
        raise BudgetExceeded(f"more than {rules.same_tag_keys} keys with one tag for {_named(rrset)}")
    code, culprit, text = told
    by = f" by {_show(culprit.signer)}/{int(culprit.algorithm)}/{culprit.key_tag}" if culprit is not None else ""
    return Broken(f"RRSIG over {_named(rrset)}{by} {text}", code)


def supported(ds: Sequence[DS], rules: Rules) -> list[DS]:
    """Give the DS records whose algorithm and digest the rules name (RFC 6840 section 5.2)."""
    return [one for one in ds if one.algorithm in rules.algorithms and one.digest_type in rules.digests]


def trusted_keys(
    zone: dns.name.Name,
    dnskeys: SignedSet,
    ds: Sequence[DS],
    now: datetime,
    rules: Rules,
    budget: Budget,
    anchors: Sequence[DNSKEY] = (),
) -> tuple[Keys, Verified] | Broken | None:
    """Give the keys of a zone that may sign, and the signature that makes them secure (RFC 4035 section 5.2).

    `ds` are secure DS records of the zone; `anchors`: keys that are believed without one. None: there are some, but
    none is of an algorithm and digest that the rules name, and the zone is insecure (RFC 6840 section 5.2).
    """
    usable = supported(ds, rules)
    believed = [key for key in anchors if key.algorithm in rules.algorithms]
    if not usable and not believed:
        nothing = Broken(f"no DS record vouches for the keys of {_show(zone)}", NO_KEY)
        return None if ds or anchors else nothing
    if any(one.digest_type != _SHA1 for one in usable):  # RFC 4509 section 3
        usable = [one for one in usable if one.digest_type != _SHA1]
    keys = Keys(key for key in dnskeys.rrset if isinstance(key, DNSKEY))
    named = [key for key in keys if key in believed] + _matching(zone, keys.tagged, usable, rules)
    entries = list({_rdata(key): key for key in named if serves(key)}.values())
    if not entries:
        why, code = ("is revoked, or not for signing zones", NO_ZONE_KEY) if named else ("is there", NO_KEY)
        which = "the key" if named else "no key"
        return Broken(f"{which} of {_show(zone)} that a DS record or trust anchor names {why}", code)
    outcome = verify(dnskeys, zone, entries, now, rules, budget)
    if isinstance(outcome, Broken):
        return outcome
    return Keys(key for key in keys if serves(key)), outcome


def digest(zone: dns.name.Name, key: DNSKEY, digest_type: int) -> bytes:
    """Compute the digest that a DS record has of a key (RFC 4034 section 5.1.4); the type is one of `DIGESTS`."""
    return _DIGESTS[digest_type](zone.to_digestable() + _rdata(key)).digest()


def key_tag(key: DNSKEY) -> int:
    """Compute the tag of a key (RFC 4034 appendix B), of any algorithm but RSA/MD5."""
    octets = _rdata(key)
    total = (sum(octets[::2]) << 8) + sum(octets[1::2])
    return (total + (total >> 16)) & 0xFFFF


def _signed_octets(rrset: dns.rrset.RRset, records: Sequence[bytes], rrsig: RRSIG) -> bytes:
    """Build what a signature is computed over (RFC 4035 section 5.3.2); `records` are in canonical form and order."""
    header = struct.pack(
        "!HBBIIIH",
        rrsig.type_covered, rrsig.algorithm, rrsig.labels,
        rrsig.original_ttl, rrsig.expiration, rrsig.inception, rrsig.key_tag,
    )  # fmt: skip
    owner = (_source(rrset.name, rrsig) or rrset.name).to_digestable()
    fixed = owner + struct.pack("!HHI", rrset.rdtype, rrset.rdclass, rrsig.original_ttl)
    octets = [header, rrsig.signer.to_digestable()]
    for rdata in records:
        octets += [fixed, len(rdata).to_bytes(2, "big"), rdata]
    return b"".join(octets)


def _rdata(key: DNSKEY) -> bytes:
    return struct.pack("!HBB", key.flags, key.protocol, key.algorithm) + key.key


def serves(key: DNSKEY) -> bool:
    """Tell whether a key may sign record sets; the SEP bit is no matter (RFC 4034 sections 2.1.1 and 2.1.2)."""
    return key.flags & (_ZONE | _REVOKE) == _ZONE and key.protocol == 3


def _matching(zone: dns.name.Name, index: Index, ds: Sequence[DS], rules: Rules) -> list[DNSKEY]:
    """List the keys that DS records name. Raises `BudgetExceeded` if too many have the tag and not the digest."""
    found: list[DNSKEY] = []
    failed = 0
    for one in ds:
        for key in index.get((int(one.algorithm), one.key_tag), ()):
            if digest(zone, key, one.digest_type) == one.digest:
                found.append(key)
                break
            if failed == rules.failed_digests:
                raise BudgetExceeded(f"more than {failed} wrong digests in {_show(zone)} DS")
            failed += 1
    return found


def _labels(name: dns.name.Name) -> int:
    """Count labels as an RRSIG does: without the root, and without a leading asterisk (RFC 4034 section 3.1.3)."""
    return len(name) - 1 - name.is_wild()


def _source(owner: dns.name.Name, rrsig: RRSIG) -> dns.name.Name | None:
    """Give the wildcard that a record set was made from, if the signature says that it was."""
    if rrsig.labels == _labels(owner):
        return None
    return dns.name.Name((b"*", *owner.labels[-rrsig.labels - 1 :]))


def _unfit(rrsig: RRSIG, rrset: dns.rrset.RRset, zone: dns.name.Name, rules: Rules) -> tuple[int, str] | None:
    """Say what keeps a signature from being one of this zone over this set (RFC 4035 section 5.3.1)."""
    text = None
    if rrsig.algorithm not in rules.algorithms:
        text = "is of an algorithm that is not supported"
    elif rrsig.rdclass != rrset.rdclass or rrsig.type_covered != rrset.rdtype:
        text = "is for another class or type"
    elif rrsig.signer != zone or not rrset.name.is_subdomain(zone):
        text = f"is not by the zone {_show(zone)}"
    elif rrset.rdtype == dns.rdatatype.DS and rrset.name == zone:
        text = "is by the child and not by the parent"
    elif not _labels(zone) <= rrsig.labels <= _labels(rrset.name):
        text = f"has {rrsig.labels} labels, which does not fit the name"
    return None if text is None else (NO_SIGNATURE, text)


def _nearest(stamp: int, now: datetime) -> datetime:
    """Read 32 bits of seconds as the moment that is nearest to now (RFC 4034 section 3.1.5, RFC 1982 section 3.2)."""
    distance = (stamp - int(now.timestamp()) + 2**31) % 2**32 - 2**31
    return now + timedelta(seconds=distance)


def _untimely(rrsig: RRSIG, now: datetime, skew: timedelta) -> tuple[int, str] | None:
    """Say what is wrong with the time; whoever signs may have a clock that differs from ours by `skew`."""
    inception, expiration = _nearest(rrsig.inception, now), _nearest(rrsig.expiration, now)
    if now > expiration + skew:
        return EXPIRED, f"expired {expiration:%Y-%m-%dT%H:%MZ}"
    if now < inception - skew:
        return NOT_YET, f"is not valid before {inception:%Y-%m-%dT%H:%MZ}"
    if (rrsig.expiration - rrsig.inception) % 2**32 >= 2**31:
        return NO_SIGNATURE, "expires before it begins"
    return None


def _verified(signed: SignedSet, rrsig: RRSIG, now: datetime) -> Verified:
    expiration = _nearest(rrsig.expiration, now)
    left = max(0, int((expiration - now).total_seconds()))
    ttl = min(signed.rrset.ttl, signed.signatures_ttl, rrsig.original_ttl, left)  # RFC 4035 section 5.3.3
    return Verified(
        signer=rrsig.signer,
        algorithm=int(rrsig.algorithm),
        key_tag=rrsig.key_tag,
        expires=now + timedelta(seconds=ttl),
        ttl=ttl,
        inception=_nearest(rrsig.inception, now),
        expiration=expiration,
        wildcard=_source(signed.rrset.name, rrsig),
    )


def _show(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _named(rrset: dns.rrset.RRset) -> str:
    return f"{_show(rrset.name)} {dns.rdatatype.to_text(rrset.rdtype)}"
