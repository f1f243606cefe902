"""Benchmarks: what danepipe does in a second, on this machine, beside something else that does the same."""
