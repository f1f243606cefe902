"""Trust anchors: what is believed without proof, and what becomes of an anchor that no longer fits."""

import dns.name

from tests.dnssec.keys import ENTRY_POINT, FOREIGN, REVOKED, ZONE_KEY, Key
from tests.dnssec.rekeying import add_key, own, put_ds, rekey
from tests.dnssec.scenes import MAIL, Scene
from tests.dnssec.tampering import harm, signed_with
from tests.dnssec.zones import Tree, Zone

ROOT_KEY = ENTRY_POINT | ZONE_KEY
BELOW = Tree((Zone("", MAIL), Zone("u", signed=False), Zone("s.u", MAIL)))
ABOVE = Tree((Zone("", MAIL), Zone("s", MAIL)))


def _root(flags: int = ROOT_KEY, number: int = 0) -> Key:
    return own(number, 13, flags)


def _ds(*names: str, by: Key | None = None) -> str:
    """Give DS records of the entry keys of zones, or all of one other key."""
    keys = {".": _root(), "example": own(2), "s.example": own(4), "s.u.example": own(6)}
    return "\n".join(f"{name} 300 IN DS {(by or keys[name]).ds(dns.name.from_text(name)).to_text()}" for name in names)


def _key(by: Key) -> str:
    return f". 300 IN DNSKEY {by.dnskey.to_text()}"


STALE = own(FOREIGN)
MX = "example MX"

STORIES = (
    Scene("anchor_is_a_digest", "The anchor is a DS record of the root's key.", "SEC-01", MX, "secure",
          proof="signed by ./13/"),
    Scene("anchor_is_a_key", "The anchor is the root's key itself.", "SEC-01 SEC-02", MX, "secure",
          anchor=lambda _: _key(_root())),
    Scene("anchors_for_root_and_zone", "Two zones have anchors, and the closer one is enough.", "SEC-01 SEC-20", MX,
          "secure", anchor=lambda _: _ds(".", "example"), silent=(". DNSKEY", "example DS")),
    Scene("two_anchors_for_one_zone", "Of two anchors for the root one is of a key that is not there yet.",
          "SEC-01 SEC-02", MX, "secure", anchor=lambda _: _ds(".") + "\n" + _ds(".", by=own(FOREIGN, 13))),
    Scene("no_anchor_is_above_the_name", "The only anchor is for another branch of the tree.", "SEC-01", MX,
          "insecure", "no trust anchor is above example", anchor=lambda _: _ds("example").replace("example", "other")),
    Scene("anchor_key_is_gone", "The root has none of the keys that the anchor names.", "SEC-02", MX, "bogus",
          "no key of . that a DS record or trust anchor names is there", 9, hurts=(harm("wrong keys", "DNSKEY", "."),)),
    Scene("anchor_key_has_no_zone_bit", "The key of the anchor is not for signing zones.", "SEC-02 SEC-09", MX,
          "bogus", "is revoked, or not for signing zones", 11,
          prepare=(rekey(_root(ENTRY_POINT), zone="."),), anchor=lambda _: _ds(".", by=_root(ENTRY_POINT))),
    Scene("anchor_key_signature_is_broken", "The signature over the root's keys is altered on the way.", "SEC-02", MX,
          "bogus", "RRSIG over . DNSKEY", 6, hurts=(harm("altered signature", "DNSKEY", "."),)),
    Scene("anchor_key_did_not_sign", "Another key of the root than that of the anchor signs its keys.", "SEC-02", MX,
          "bogus", "RRSIG over . DNSKEY", 9, hurts=(harm("other key of the zone", "DNSKEY", "."),)),
    Scene("anchor_key_is_unsigned", "The root's keys come without a signature.", "SEC-02 SEC-21", MX, "bogus",
          "RRSIG over . DNSKEY is missing", 10, hurts=(harm("no signature", "DNSKEY", "."),)),
    Scene("anchor_is_a_revoked_key", "The anchor names the root's key as it is after it was revoked.", "SEC-10", MX,
          "bogus", "is revoked, or not for signing zones", 11,
          prepare=(rekey(_root(ROOT_KEY | REVOKED), zone="."),),
          anchor=lambda _: _ds(".", by=_root(ROOT_KEY | REVOKED))),
    Scene("anchor_key_was_revoked_since", "The anchor is a key that the root has revoked meanwhile.", "SEC-10", MX,
          "bogus", "no key of . that a DS record or trust anchor names is there", 9,
          prepare=(rekey(_root(ROOT_KEY | REVOKED), zone="."),), anchor=lambda _: _key(_root())),
    Scene("revoked_key_beside_a_good_one", "The root has revoked its old key, and the anchor is of the new one.",
          "SEC-10", MX, "secure", prepare=(add_key(_root(ROOT_KEY | REVOKED, FOREIGN), "."),)),
    Scene("anchor_below_an_insecure_cut", "A zone below one that is not signed has an anchor of its own.", "SEC-19",
          "s.u.example MX", "secure", tree=BELOW, anchor=lambda _: _ds(".", "s.u.example")),
    Scene("no_anchor_below_an_insecure_cut", "A signed zone below one that is not has no anchor.", "SEC-18 SEC-19",
          "s.u.example MX", "insecure", "u.example. is delegated without DS records", tree=BELOW),
    Scene("stale_anchor_below_a_good_one", "The anchor of a zone is stale, and the chain from the root is whole.",
          "SEC-20", "s.example MX", "secure", tree=ABOVE,
          anchor=lambda _: _ds(".") + "\n" + _ds("s.example", by=STALE)),
    Scene("good_anchor_below_a_stale_one", "The anchor of the root is stale, and that of the zone is good.", "SEC-20",
          "s.example MX", "secure", tree=ABOVE, anchor=lambda _: _ds(".", by=own(FOREIGN, 13)) + "\n" + _ds("s.example")),
    Scene("all_anchors_are_stale", "Neither the anchor of the root nor that of the zone is of a key there.", "SEC-20",
          "s.example MX", "bogus", "no key of s.example that a DS record or trust anchor names is there", 9, tree=ABOVE,
          anchor=lambda _: _ds(".", by=own(FOREIGN, 13)) + "\n" + _ds("s.example", by=STALE)),
    Scene("root_keys_are_not_answered", "There is no response with the keys of the root.", "SEC-21 SEC-02", MX,
          "indeterminate", "./DNSKEY: no response", 5, failure="timeout", silent=(". DNSKEY",)),
    Scene("root_keys_are_left_out", "The answer for the root's keys is empty.", "SEC-21 SEC-02", MX, "bogus",
          "./DNSKEY is missing", 9, hurts=(harm("lost set", "DNSKEY", "."),)),
    Scene("negative_anchor_switches_off", "A negative anchor covers a zone whose signatures are broken.", "SEC-22", MX,
          "insecure", "validation is switched off here", negative="example 2026-11-21T00:00:00Z",
          hurts=(harm("altered signature", "MX"),)),
    Scene("negative_anchor_has_ended", "A negative anchor no longer holds, and the broken signature counts.", "SEC-22",
          MX, "bogus", "RRSIG over example MX", 6, negative="example 2026-11-20T11:59:59Z",
          hurts=(harm("altered signature", "MX"),)),
    Scene("negative_anchor_of_another_name", "A negative anchor for a neighbour changes nothing.", "SEC-22", MX, "bogus",
          "RRSIG over example MX", 6, negative="example2 2026-11-21T00:00:00Z",
          hurts=(harm("altered signature", "MX"),)),
    Scene("anchor_below_a_negative_one", "A zone below a negative anchor has an anchor, and is validated.",
          "SEC-22 SEC-19", "s.example MX", "bogus", "RRSIG over s.example MX", 6, tree=ABOVE,
          negative="example 2026-11-21T00:00:00Z", anchor=lambda _: _ds(".", "s.example"),
          hurts=(harm("altered signature", "MX"),)),
    Scene("anchor_with_two_digests", "The anchor names a key by SHA-1 and by SHA-256, and the former is wrong.",
          "SEC-01 SEC-07", MX, "secure",
          anchor=lambda world: world.tree.anchor + f"\n. 300 IN DS {_root().tag} 13 1 {'00' * 20}"),
    Scene("ds_of_an_anchored_zone_is_broken", "The zone above has a wrong DS record, and the anchor below it is good.",
          "SEC-19 SEC-20", MX, "secure", anchor=lambda _: _ds(".", "example"),
          prepare=(put_ds(lambda origin: [STALE.ds(origin)]),)),
    Scene("keys_signed_by_a_stranger_too", "A foreign key has signed the root's keys beside that of the anchor.",
          "SEC-02 SEC-11", MX, "secure", hurts=(harm(signed_with(own(FOREIGN, 13), beside=True), "DNSKEY", "."),)),
)  # fmt: skip
