"""Do it on the wire: DNS, TLS, SMTP, and the text of reports.

This floor knows nothing of queues, Redis or Dramatiq; it may import `stages` and nothing above itself.
"""
