story: The rules want no answer at all from more iterations than they allow.
requires: SEC-56 SEC-57 SEC-58
question: mx.example AAAA
now: 2026-11-20T12:00:00Z
status: indeterminate
why: have 101 iterations, more than 100 (EDE 27)
failure: indeterminate
rules: nsec3_iterations=100 nsec3_over_limit=error

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> mx.example AAAA
NOERROR
authority
example. 300 IN SOA ns.example. hostmaster.example. 1 3600 900 604800 300
example. 300 IN RRSIG SOA 15 1 300 20261130120000 20261110120000 21130 example. Pl6S/n4rc32mqa69SVUtYmMGTV3/OfVk Kg2nSHOu1Aefa/85GtuzmG69gaIsYPI1 Sf2539ZzvRKZ17DreIa1DQ==
4fi1velagrumer9l3m3m67chdphouji4.example. 300 IN NSEC3 1 0 101 ab 6p3l388m8cs86c0ma2mrvfi67hjq0fje A RRSIG
4fi1velagrumer9l3m3m67chdphouji4.example. 300 IN RRSIG NSEC3 15 2 300 20261130120000 20261110120000 21130 example. wSUp5j5wFeBk3qxYdRHYITnbyLc8WqHm qeKxhaveLMnE+w/ruzeRsnZGY/uGMCOz gnPZ3xHFJMUCLPB8f9BQBA==

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
