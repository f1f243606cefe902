story: Two aliases lead to each other, and one is in a zone that is not signed.
requires: SEC-69
question: a.example A
now: 2026-11-20T12:00:00Z
status: indeterminate
why: go in a circle
failure: chain

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> a.example A
NOERROR
answer
a.example. 300 IN CNAME c.u.example.
a.example. 300 IN RRSIG CNAME 15 2 300 20261130120000 20261110120000 21130 example. IeqTsT9YCfhQe0VFt+rkobdiYCEUGSxH r+Dnj+h+R2fWPkBfmLlTD3/73Fr5WyeO m7kELtfaLp+z/t3oY/E5CQ==
c.u.example. 300 IN CNAME a.example.

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

> u.example DS
NOERROR
authority
example. 300 IN SOA ns.example. hostmaster.example. 1 3600 900 604800 300
example. 300 IN RRSIG SOA 15 1 300 20261130120000 20261110120000 21130 example. Pl6S/n4rc32mqa69SVUtYmMGTV3/OfVk Kg2nSHOu1Aefa/85GtuzmG69gaIsYPI1 Sf2539ZzvRKZ17DreIa1DQ==
u.example. 300 IN NSEC example. NS RRSIG NSEC
u.example. 300 IN RRSIG NSEC 15 2 300 20261130120000 20261110120000 21130 example. zi3mgGc9wxF/Td3aLS+3Bnj27kGf2GyZ mGRzwhL7g7SElwmTbsvKHDuZgpIhHMdN Ga7pyxcWDaM92jyoPzvlAQ==
