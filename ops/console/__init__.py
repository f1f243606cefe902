"""The web console: what an operator sees and does in a browser, beside the command line and the HTTP API."""
