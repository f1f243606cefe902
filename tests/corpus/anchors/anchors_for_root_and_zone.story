story: Two zones have anchors, and the closer one is enough.
requires: SEC-01 SEC-20
question: example MX
now: 2026-11-20T12:00:00Z
status: secure
finds: records

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f
example 300 IN DS 21130 15 2 576fbd14b6259466a105d8067e5094eea81a7264dcd02b5073e0331bbf27b77e

> example MX
NOERROR
answer
example. 300 IN MX 10 mx.example.
example. 300 IN RRSIG MX 15 1 300 20261130120000 20261110120000 21130 example. nWpAkW4ObBLfR4KH7XfDVqqSI+H6T03t FF6H++Xq5q4cnTrwKR0Sb/FQU2qEUhxx AdPV+h3ZaChl1naVsOq9BA==

> example DNSKEY
NOERROR
answer
example. 300 IN DNSKEY 257 3 15 BvCf8SD8L6K3judnyWqiabPQ6FYgGPIb Tk8aSLFdg94=
example. 300 IN RRSIG DNSKEY 15 1 300 20261130120000 20261110120000 21130 example. SzdHuqAixW3DZcUnqpLancR9Lgv/Ivu5 hXqpa2NpiK2DPgoXUu0eIHu+vWGnejDg ff8pDWPckVG1d3ufa++2Ag==
