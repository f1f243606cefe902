story: The key of the anchor is not for signing zones.
requires: SEC-02 SEC-09
question: example MX
now: 2026-11-20T12:00:00Z
status: bogus
why: is revoked, or not for signing zones
ede: 11

anchor
. 300 IN DS 7544 13 2 ab730083eaacfe0b41700db36446d06dca9552bf0d2afa856089aa302b81d92c

> example MX
NOERROR
answer
example. 300 IN MX 10 mx.example.
example. 300 IN RRSIG MX 15 1 300 20261130120000 20261110120000 21130 example. nWpAkW4ObBLfR4KH7XfDVqqSI+H6T03t FF6H++Xq5q4cnTrwKR0Sb/FQU2qEUhxx AdPV+h3ZaChl1naVsOq9BA==

> . DNSKEY
NOERROR
answer
. 300 IN DNSKEY 1 3 13 4V6wfh0O3lpTNW/5j5A/J6bGgd5e25jQ 4TAdIM5cXF4Qr57K8YPfw3F8bmbAhAAl nYnK5iJOuCXtPdCP3bWyKQ==
. 300 IN RRSIG DNSKEY 13 0 300 20261130120000 20261110120000 7544 . z/akN9a2hoy7e2GWvzLu7xnz9EambsDx ZJGcCF7FvhvNWEK0W8GFgFnlK/l/34Ea isNCqNHNNDiGnmKg+ki5Fw==

> example DS
NOERROR
answer
example. 300 IN DS 21130 15 2 576fbd14b6259466a105d8067e5094eea81a7264dcd02b5073e0331bbf27b77e
example. 300 IN RRSIG DS 13 1 300 20261130120000 20261110120000 7544 . 385dE+jbp3w9Dfz3ydDm1tnS1wvEfjEE GWcxrx82cxEqk/fDZIpG8En2yvIvWR9h p9jt/VcRYTzpn02fk2dSjQ==

> example DNSKEY
NOERROR
answer
example. 300 IN DNSKEY 257 3 15 BvCf8SD8L6K3judnyWqiabPQ6FYgGPIb Tk8aSLFdg94=
example. 300 IN RRSIG DNSKEY 15 1 300 20261130120000 20261110120000 21130 example. SzdHuqAixW3DZcUnqpLancR9Lgv/Ivu5 hXqpa2NpiK2DPgoXUu0eIHu+vWGnejDg ff8pDWPckVG1d3ufa++2Ag==
