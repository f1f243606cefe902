"""Section `[dnssec]`: what our own validation supports and may cost, from the file to the rules of the validator."""

from datetime import timedelta
from pathlib import Path

import pytest

from delivery.dnssec.limits import Rules
from pipeline.config import ConfigError, load

WHOLE = """
[dnssec]
algorithms = [8, 13]
digests = [2]
rrsig_skew = "10m"
nsec3_max_iterations = 50
nsec3_over_limit = "error"
max_rrsig_checks_per_rrset = 4
max_rrsig_checks_per_resolution = 32
max_same_tag_keys = 2
max_wrong_digests = 3
max_nsec3_hashes = 64
max_cname = 8
max_queries = 50
max_records = 200
max_time = "10s"
bogus_ttl = "1m"
"""
RULES = Rules(
    algorithms=frozenset({8, 13}), digests=frozenset({2}), skew=timedelta(minutes=10), checks_per_set=4, checks=32,
    same_tag_keys=2, failed_digests=3, nsec3_iterations=50, nsec3_over_limit="error", nsec3_hashes=64, links=8,
    queries=50, records=200, time=timedelta(seconds=10), bogus_ttl=timedelta(minutes=1),
)  # fmt: skip


def _file(directory: Path, text: str) -> Path:
    path = directory / "danepipe.toml"
    path.write_text(text)
    return path


def test_nothing_set_is_the_rules_as_they_are() -> None:
    """SEC-08, SEC-27, SEC-57, SEC-60, SEC-61, SEC-63, SEC-65: the defaults of the section are those of the validator."""
    assert load(None, {}).dns_settings().rules == Rules()


def test_each_key_is_a_rule(tmp_path: Path) -> None:
    """SEC-08, SEC-27, SEC-56, SEC-60, SEC-61, SEC-63, SEC-65: what the file says is what the validator is given."""
    assert load(_file(tmp_path, WHOLE), {}).dns_settings().rules == RULES
    assert Rules.__slots__ == tuple(name for name in Rules.__slots__ if getattr(RULES, name) != getattr(Rules(), name))


def test_a_variable_outweighs_the_file(tmp_path: Path) -> None:
    """Lists of numbers in a variable have commas between them."""
    config = load(_file(tmp_path, WHOLE), {"DANEPIPE_DNSSEC__ALGORITHMS": "8,13,15"})
    assert config.dns_settings().rules.algorithms == {8, 13, 15}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("algorithms = [8, 12]", "algorithms: signature algorithm 12 cannot be computed here; known: [5, 7, 8,"),
        ("algorithms = []", "algorithms: without any signature algorithm every zone would be insecure; expected one"),
        (
            "algorithms = [13]",
            "algorithms: the trust anchor of . cannot be used: algorithm 8 is not supported; supported:",
        ),
        ("digests = [3]", "digests: digest type 3 cannot be computed here; known: [1, 2, 4]"),
        (
            "digests = []",
            "digests: without any digest type every zone would be insecure; expected one or more of [1, 2",
        ),
        (
            "digests = [4]",
            "digests: the trust anchor of . cannot be used: digest type 2 is not supported; supported: [4]",
        ),
        ('rrsig_skew = "2h"', "rrsig_skew: 2h is out of bounds, expected a duration from 0s to 1h"),
        ("nsec3_max_iterations = 151", "nsec3_max_iterations: input should be less than or equal to 150, got 151"),
        ('nsec3_over_limit = "secure"', "nsec3_over_limit: input should be 'insecure' or 'error'"),
        ("max_rrsig_checks_per_rrset = 1", "max_rrsig_checks_per_rrset: input should be greater than or equal to 2"),
        ("max_rrsig_checks_per_resolution = 9999", "max_rrsig_checks_per_resolution: input should be less than or"),
        ("max_same_tag_keys = 1", "max_same_tag_keys: input should be greater than or equal to 2"),
        ("max_nsec3_hashes = 0", "max_nsec3_hashes: input should be greater than or equal to 32"),
        ("max_cname = 1000", "max_cname: input should be less than or equal to 64"),
        ("max_queries = 1", "max_queries: input should be greater than or equal to 20"),
        ('max_time = "1h"', "max_time: 1h is out of bounds, expected a duration from 1s to 5m"),
        ('bogus_ttl = "0s"', "bogus_ttl: 0s is out of bounds, expected a duration from 1s to 5m"),
        ("bogus = 1", "bogus: unknown key, did you mean 'bogus_ttl'?"),
    ],
)
def test_what_would_weaken_or_overload_is_refused(tmp_path: Path, line: str, wanted: str) -> None:
    """SEC-08, SEC-59: the error names file, line and key, and says what would be right."""
    path = _file(tmp_path, f"[dnssec]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert f"{path}:2: dnssec.{wanted}" in str(caught.value)


def test_an_anchor_file_must_be_of_use_with_the_algorithms_that_count(tmp_path: Path) -> None:
    """SEC-05: with an anchor that nothing is computed for, all zones below it would be insecure, so it ends the start."""
    digest = "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
    (tmp_path / "root.key").write_text(f". IN DS 20326 8 2 {digest}\n")
    text = f'[dns]\nanchor_file = "{tmp_path}/root.key"\n[dnssec]\nalgorithms = [13]\n'
    with pytest.raises(
        ConfigError, match=r"toml:2: dns.anchor_file: .*: algorithm 8 is not supported; supported: \[13\]"
    ):
        load(_file(tmp_path, text), {})
    trusted = text.replace("[dns]", '[dns]\nvalidation = "trusted"') + '[dane]\nprofile = "rfc7672"\n'
    assert load(_file(tmp_path, trusted), {}).dns_settings().rules.algorithms == {13}  # no anchor is used
