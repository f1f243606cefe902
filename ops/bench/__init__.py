"""Benchmarks of danepipe on one machine, on loopback only: `make bench`, or `python -m ops.bench latency memory`."""
