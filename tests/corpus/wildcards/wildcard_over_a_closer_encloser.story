story: A name above the one asked for exists, so that the wildcard is not for it.
requires: SEC-32
question: q.b.w.example A
now: 2026-11-20T12:00:00Z
status: bogus
why: is made from *.w.example, and nothing proves that no closer name exists
ede: 12

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> q.b.w.example A
NOERROR
answer
q.b.w.example. 300 IN A 192.0.2.1
q.b.w.example. 300 IN RRSIG A 15 2 300 20261130120000 20261110120000 21130 example. 9kljGh/F06H/dNhBrvcnYtNawi0opFwq qrrLSdk2KV41Cq6+IFu4HU2Rk8owKtI/ 5aP0xuegSmuYfqIL4E4yBw==
authority
example. 300 IN SOA ns.example. hostmaster.example. 1 3600 900 604800 300
example. 300 IN RRSIG SOA 15 1 300 20261130120000 20261110120000 21130 example. Pl6S/n4rc32mqa69SVUtYmMGTV3/OfVk Kg2nSHOu1Aefa/85GtuzmG69gaIsYPI1 Sf2539ZzvRKZ17DreIa1DQ==
c.b.w.example. 300 IN NSEC z.example. A RRSIG NSEC
c.b.w.example. 300 IN RRSIG NSEC 15 4 300 20261130120000 20261110120000 21130 example. 9+7plh8ItffXPs1KLubTG27jz8bGfseF C+twHDJ9H6seY55D5wh4Uk0WU0coaE3+ BCpQDzND30v+Ziq5ytUABg==
b.w.example. 300 IN NSEC c.b.w.example. TXT RRSIG NSEC
b.w.example. 300 IN RRSIG NSEC 15 3 300 20261130120000 20261110120000 21130 example. szF6e9fY7EeeK0MUvqK535YBCSk6hd2Z AcM9gOcWZAEic2u5Ht9uw2cPHJQLqx66 yD+nM08hUsgeHf4emvQZAg==

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
