"""Chaos: faults with a seed against all of danepipe, and a ledger of every message that shows that none is lost."""
