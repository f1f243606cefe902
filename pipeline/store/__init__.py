"""What is kept: the ledger of messages, their content, shared answers and run-time exclusions, all in Redis."""
