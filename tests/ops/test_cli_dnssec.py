"""The rules of our own validation, as the configuration has them, where commands ask DNS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.lab.scenarios import named
from ops.lab.world import Lab
from tests.ops.conftest import Run
from tests.ops.lab_beside import lab_beside

UNSUPPORTED = "no DS record of lab is of an algorithm and digest that are supported"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab without a validating resolver, once for this module."""
    with lab_beside(tmp_path_factory.mktemp("lab"), named("ee-311"), "local") as running:
        yield running


@pytest.fixture
def config(lab: Lab, cli: Run, place: Path) -> str:
    """Give a configuration whose root anchor is a key, so that digests can be chosen; those of the lab are of type 2."""
    written = str(lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0"))
    keys = json.loads(cli("--config", written, "dig", ".", "DNSKEY", "--json").stdout)["answers"]
    (place / "root.key").write_text("".join(f". IN DNSKEY {key}\n" for key in keys))
    more = {"dns": {"anchor_file": str(place / "root.key")}}
    return str(lab.write_config(place / "lab.toml", "redis://127.0.0.1:1/0", more))


@pytest.mark.parametrize(("digests", "status", "why"), [("2", "secure", ""), ("4", "insecure", UNSUPPORTED)])
def test_dig_judges_by_the_rules_of_the_configuration(
    config: str, cli: Run, digests: str, status: str, why: str
) -> None:
    """SEC-08: a digest that is left out is as if unknown, also for anchors that are named on the command line."""
    for more in ((), ("--anchor", "root.key")):
        result = cli("--config", config, "dig", "ee-311.lab", "MX", "--json", *more, DNSSEC__DIGESTS=digests)
        made = json.loads(result.stdout)
        assert made["status"] == status
        assert why in made["why"]


def test_explain_judges_by_them_too_and_the_self_test_with_it(config: str, cli: Run) -> None:
    """SEC-08, DANE-06: without the digest of all zones nothing is secure any more, the canaries say so, and mail waits."""
    fine, without = (
        cli("--config", config, "explain", "u@ee-311.lab", DNS__VALIDATION="local", DNSSEC__DIGESTS=digests).stdout
        for digests in ("2", "4")
    )
    assert "ee-311.lab/MX: secure" in fine
    assert "ee-311.lab/MX: suspended" in without
    assert "lab/SOA: insecure, expected secure" in without
    assert without.startswith("u@ee-311.lab: the mail would wait")


def test_anchors_that_the_rules_have_no_use_for_are_named(config: str, cli: Run) -> None:
    """SEC-05: dig says which algorithm is missing, and judges nothing."""
    result = cli("--config", config, "dig", "ee-311.lab", "MX", DNSSEC__ALGORITHMS="8")
    assert result.exit_code == 2
    assert "trust anchors, line 1: algorithm 13 is not supported; supported: [8]" in result.stderr


def test_dig_names_the_key_where_the_configuration_had_no_use_for_anchors(cli: Run) -> None:
    """SEC-05: who believes the resolver needs no anchor, until a command is to prove something."""
    believing = {"DNS__VALIDATION": "trusted", "DANE__PROFILE": "rfc7672", "DNSSEC__ALGORITHMS": "13"}
    result = cli("dig", "example.com", "MX", "--server", "127.0.0.1@1", **believing)
    assert result.exit_code == 2
    assert "dnssec.algorithms: the trust anchor of . cannot be used: algorithm 8 is not supported" in result.stderr


def test_show_has_each_rule_with_its_origin(cli: Run) -> None:
    """Every limit can be read, with where its value came from."""
    shown = cli("config", "show", "dnssec", DNSSEC__MAX_CNAME="8").stdout.splitlines()
    assert "dnssec.algorithms = [5, 7, 8, 10, 13, 14, 15, 16]  # default" in shown
    assert "dnssec.max_cname = 8  # DANEPIPE_DNSSEC__MAX_CNAME" in shown
    assert 'dnssec.bogus_ttl = "5s"  # default' in shown
    assert len(shown) == 15
