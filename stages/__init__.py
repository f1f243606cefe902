"""Decide, as pure functions of (item, facts, now), what becomes of each recipient.

This floor has no clock, no socket, no randomness and no import from outside the standard library:
time, facts and jitter come in as arguments. Nothing here may import `delivery`, `pipeline` or `ops`.
"""
