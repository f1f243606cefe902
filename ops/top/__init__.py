"""`danepipe top`: what happens now, live in a terminal or as one table."""
