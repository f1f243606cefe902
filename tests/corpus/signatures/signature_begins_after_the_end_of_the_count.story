story: Inception is after the wrap at 2^32 seconds, and now before.
requires: SEC-26
question: _25._tcp.mx.example TLSA
now: 2106-02-07T06:28:12Z
status: bogus
why: is not valid before 2106-02-08T
ede: 8

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> _25._tcp.mx.example TLSA
NOERROR
answer
_25._tcp.mx.example. 300 IN TLSA 3 1 1 abababababababababababababababababababababababababababababababab
_25._tcp.mx.example. 300 IN RRSIG TLSA 15 4 300 19700110000000 19700102000000 21130 example. FmxPdQcCxcuO0/8l0UVa5KxjsiudUpk9 a5YKitqLS6svVAxvI3ppXm+lZCqVf9Am CvwEunBX+s96uZ7Qw+37Ag==

> . DNSKEY
NOERROR
answer
. 300 IN DNSKEY 257 3 13 4V6wfh0O3lpTNW/5j5A/J6bGgd5e25jQ 4TAdIM5cXF4Qr57K8YPfw3F8bmbAhAAl nYnK5iJOuCXtPdCP3bWyKQ==
. 300 IN DNSKEY 256 3 13 NO7NesdETrHqBsKpZUsU7yxV/4BLJAkx POpR3ukAmpJ37iUd+m7hmkjEEqHjb5RG l0pnB+bF1A+98QyO+ipCGA==
. 300 IN RRSIG DNSKEY 13 0 300 19700110000000 19700102000000 7800 . 4rEs8E6fo/dqvNiJRKzlEiTarA6aJbNf IQzGwt3y2IjR8RZ/4HLeM2t3elKqSUtj Q70FBXcYzJnIJnry1l2DPg==

> example DS
NOERROR
answer
example. 300 IN DS 21130 15 2 576fbd14b6259466a105d8067e5094eea81a7264dcd02b5073e0331bbf27b77e
example. 300 IN RRSIG DS 13 1 300 19700110000000 19700102000000 57850 . Qq5a3jNUUZGEolqdbmbz3s+9FKWFALBN zEz6Nc+BBOI/T143KMUjNoZpz1F39SML o+/JLfClp37iNbL9q2vHBg==

> example DNSKEY
NOERROR
answer
example. 300 IN DNSKEY 257 3 15 BvCf8SD8L6K3judnyWqiabPQ6FYgGPIb Tk8aSLFdg94=
example. 300 IN RRSIG DNSKEY 15 1 300 19700110000000 19700102000000 21130 example. QkZGZt9Ten00qOhatpha0jlf7n0THMY0 s5UIOcIqBr6oXQR6BXdYzgwyr0392vAZ A1GFLqNK99h6j3OL3f/+Bg==
