story: The top of all is signed, and the zone below it has no DS records.
requires: SEC-15
question: example MX
now: 2026-11-20T12:00:00Z
status: insecure
finds: records
why: example. is delegated without DS records

anchor
. 300 IN DS 7800 13 2 63e0053a72054ec33e9d210f7ae711b2d060c836731e6864ab6bec8f3614dd0f

> example MX
NOERROR
answer
example. 300 IN MX 10 mx.example.

> . DNSKEY
NOERROR
answer
. 300 IN DNSKEY 257 3 13 4V6wfh0O3lpTNW/5j5A/J6bGgd5e25jQ 4TAdIM5cXF4Qr57K8YPfw3F8bmbAhAAl nYnK5iJOuCXtPdCP3bWyKQ==
. 300 IN DNSKEY 256 3 13 NO7NesdETrHqBsKpZUsU7yxV/4BLJAkx POpR3ukAmpJ37iUd+m7hmkjEEqHjb5RG l0pnB+bF1A+98QyO+ipCGA==
. 300 IN RRSIG DNSKEY 13 0 300 20261130120000 20261110120000 7800 . OAadnc82aMePcPGczdnT1M3ABhjNSGc6 BIhP1jsgLhHk+vz19rnhvobRmCjJ8Xth bkzmZrmJPsWEw6mAS+60/A==

> example DS
NOERROR
authority
. 300 IN SOA ns. hostmaster. 1 3600 900 604800 300
. 300 IN RRSIG SOA 13 0 300 20261130120000 20261110120000 57850 . AyoaN6Qp1WzBk5IFmikW/gfjxTXVv3VJ AikNqmvbnXMbKfGvIO7HLH9L0sB++kHa BKCUa3wh9Syui8F4XXvGCw==
example. 300 IN NSEC ns. NS RRSIG NSEC
example. 300 IN RRSIG NSEC 13 1 300 20261130120000 20261110120000 57850 . EquUqzzyriUDqmcx7jiCV0L6+k5vSVru xD10OBbi/R/Iia/j7Y2DdmmH+WVNrS60 ka2xn8oZEJsuPMRNa+rhzQ==

> example DNSKEY
NOERROR
authority
example. 300 IN SOA ns.example. hostmaster.example. 1 3600 900 604800 300
