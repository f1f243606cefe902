"""A small internet on loopback: signed zones good and broken, and mail hosts of every kind.

Everything about DANE can be tried here without touching a real server: `danepipe lab up` keeps the lab running,
`danepipe lab demo` sends one message to each of its domains and compares what became of it with what should have. The
tests use the same lab as their far end. Each domain tells one story and is one `Scenario` of `scenarios.ALL`. The lab
listens on addresses in 127.77.0.0/16 and on high ports, so it needs no root; it needs a Linux loopback and Unbound.
"""
