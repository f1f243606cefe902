"""Why a stage ruled as it did: the value that logs, reports and the ledger share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fact = Any  # JSON values: text, numbers, booleans, None, lists and string-keyed mappings of them


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the stage that ruled, a stable code (`dane.mismatch`), an enhanced status (RFC 3463), a sentence, the facts.

    `remote` is the host whose reply decided, and `reply` its reply text; both are empty where we decided alone
    (RFC 3464 sections 2.3.5 and 2.3.6).
    """

    stage: str
    code: str
    status: str
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    remote: str = ""
    reply: str = ""
