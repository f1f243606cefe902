"""From `[dns]` and `[dnssec]` to what the resolver needs: servers, trust anchors, rules, canaries, lifetimes.

The anchor file is read here. ValueError that comes out says what is wrong with it; everything else was checked when
the section was read.
"""

import ipaddress
from pathlib import Path

import dns.name

from delivery.dnssec.anchors import ROOT, Anchors, check_anchors
from delivery.dnssec.limits import Rules
from delivery.nameserver import Server
from delivery.resolver import DnsSettings
from delivery.responses import Lifetimes
from delivery.trust import Canary, Expected
from pipeline.dnssec import Dnssec
from pipeline.settings import Dns
from pipeline.values import moment
from stages.answer import Question


class AnchorError(ValueError):
    """Trust anchors cannot be used; `key` is the setting that is to blame."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def dns_settings(section: Dns, proving: Dnssec) -> DnsSettings:
    """Make the settings of the resolver. Raises `AnchorError`."""
    rules = proving.rules()
    groups = (
        (section.canary_secure, Expected.SECURE),
        (section.canary_absent, Expected.ABSENT),
        (section.canary_insecure, Expected.INSECURE),
        (section.canary_bogus, Expected.BOGUS),
    )
    return DnsSettings(
        servers=tuple(Server.parse(text) for text in section.servers),
        validation=section.validation,
        anchors=anchors_of(section, rules, used=section.validation != "trusted"),
        rules=rules,
        trust=tuple(ipaddress.ip_network(network) for network in section.trust),
        timeout=section.timeout,
        attempts=section.attempts,
        canaries=tuple(Canary(_question(text), kind) for texts, kind in groups for text in texts),
        lifetimes=Lifetimes(found=section.max_ttl, absent=section.max_negative_ttl),
    )


def anchors_of(section: Dns, rules: Rules, *, used: bool = True) -> Anchors:
    """Give the anchors of the file, else those of the root, with the negative ones; what is not used is not read.

    Raises `AnchorError`, also for anchors that the rules leave no use of: all zones below would be insecure.
    """
    zones = ROOT.zones
    if used and section.anchor_file is not None:
        try:
            zones = read_anchors(section.anchor_file, rules).zones
        except ValueError as error:
            raise AnchorError("dns.anchor_file", f"{section.anchor_file}: {error}") from error
    elif used:
        _check_root("dnssec.algorithms", Rules(algorithms=rules.algorithms))
        _check_root("dnssec.digests", Rules(digests=rules.digests))
    return Anchors(zones, {dns.name.from_text(one.name): moment(one.expires) for one in section.negative})


def _check_root(key: str, rules: Rules) -> None:
    try:
        check_anchors(ROOT, rules)
    except ValueError as error:
        raise AnchorError(key, str(error)) from error


def read_anchors(file: Path, rules: Rules) -> Anchors:
    """Read an anchor file. Raises ValueError that says what is wrong, without the name of the file."""
    try:
        return Anchors.parse(file.read_text(encoding="utf-8"), rules)
    except OSError as error:
        raise ValueError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"trust anchors: octet {error.start} is no text; expected DS or DNSKEY records") from error


def _question(text: str) -> Question:
    name, _, rdtype = text.rpartition("/")
    return Question(name.lower().rstrip(".") or ".", rdtype)
