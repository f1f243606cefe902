"""What TLSA answers demand (RFC 7672 sections 2.2 and 3)."""

from stages.records import TLSA

__all__ = ["TLSA"]
