story: Three aliases lead to records, and two may be followed.
requires: SEC-63
question: a.example A
now: 2026-11-20T12:00:00Z
status: indeterminate
why: more than 2 aliases for one question
failure: indeterminate
rules: links=2

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> a.example A
NOERROR
answer
a.example. 300 IN CNAME b.example.
a.example. 300 IN RRSIG CNAME 15 2 300 20261130120000 20261110120000 21130 example. 9vY+aYYCsalw1k+1sELJvpdu5B5/y0Vs bXqFsShbxp3MJGLz3dLrLlLA91YgRkbk sypgOTEXLfuq758fHOikAA==
b.example. 300 IN CNAME c.example.
b.example. 300 IN RRSIG CNAME 15 2 300 20261130120000 20261110120000 21130 example. 8gpeuDbtkMLl4i8KlguyRxMWvjPrh5e9 Kycp1bGQV9ff0kE8wkKBCpWd6xWhX5yk I/4GFWUHpki1DSI5mb4iAA==
c.example. 300 IN CNAME d.example.
c.example. 300 IN RRSIG CNAME 15 2 300 20261130120000 20261110120000 21130 example. TZFtB84t3YzzUt+Wiw+OCq4m6MuMhaMk 19DlLIgUXhUZl8v4eupLpNkdz6keBgDB KBXQVdPtT/sxc6vx9zbpCQ==
d.example. 300 IN A 192.0.2.1
d.example. 300 IN RRSIG A 15 2 300 20261130120000 20261110120000 21130 example. 9EmKkroPnpVyGJNj9PsugxcO30/Ao+KU f4w5k0IKb04QjVvKxwxQEuV+1mk+RzoN 8ry0FMoBdXnM9oL0YGUYAw==

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
