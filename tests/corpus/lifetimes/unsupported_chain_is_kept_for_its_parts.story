story: What is insecure by its DS record is kept as long as its parts.
requires: SEC-31 SEC-05
question: example MX
now: 2026-11-20T12:00:00Z
status: insecure
finds: records
why: no DS record of example is of an algorithm
ttl: 300
rules: algorithms=13

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> example MX
NOERROR
answer
example. 300 IN MX 10 mx.example.
example. 300 IN RRSIG MX 15 1 300 20261130120000 20261110120000 21130 example. nWpAkW4ObBLfR4KH7XfDVqqSI+H6T03t FF6H++Xq5q4cnTrwKR0Sb/FQU2qEUhxx AdPV+h3ZaChl1naVsOq9BA==

> . DNSKEY
NOERROR
answer
. 300 IN DNSKEY 257 3 13 4V6wfh0O3lpTNW/5j5A/J6bGgd5e25jQ 4TAdIM5cXF4Qr57K8YPfw3F8bmbAhAAl nYnK5iJOuCXtPdCP3bWyKQ==
. 300 IN DNSKEY 256 3 13 NO7NesdETrHqBsKpZUsU7yxV/4BLJAkx POpR3ukAmpJ37iUd+m7hmkjEEqHjb5RG l0pnB+bF1A+98QyO+ipCGA==
. 300 IN RRSIG DNSKEY 13 0 300 20261130120000 20261110120000 7800 . OAadnc82aMePcPGczdnT1M3ABhjNSGc6 BIhP1jsgLhHk+vz19rnhvobRmCjJ8Xth bkzmZrmJPsWEw6mAS+60/A==

> example DS
NOERROR
answer
example. 300 IN DS 21130 15 2 576fbd14b6259466a105d8067e5094eea81a7264dcd02b5073e0331bbf27b77e
example. 300 IN RRSIG DS 13 1 300 20261130120000 20261110120000 57850 . duAfmqQfqY7ULK7uKJrWuSYFUfkXsqpO rKu6gQAfXaV4+6ek8ZXD/XTZfn07x7co iXHfbWEMElN0paO1NMChow==

> example DNSKEY
NOERROR
answer
example. 300 IN DNSKEY 257 3 15 BvCf8SD8L6K3judnyWqiabPQ6FYgGPIb Tk8aSLFdg94=
example. 300 IN RRSIG DNSKEY 15 1 300 20261130120000 20261110120000 21130 example. SzdHuqAixW3DZcUnqpLancR9Lgv/Ivu5 hXqpa2NpiK2DPgoXUu0eIHu+vWGnejDg ff8pDWPckVG1d3ufa++2Ag==
