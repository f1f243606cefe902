"""Proofs over record sets (RFC 4033 to 4035, 5155, 6840): anchors, signatures, denials, and the chain that joins them.

Everything here is pure: no sockets, no clock, no randomness. What is asked, of whom and when is decided elsewhere.
"""
