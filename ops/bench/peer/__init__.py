"""danepipe beside a tuned Postfix, on the same work and the same machine: `make bench-peer`."""
