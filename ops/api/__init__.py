"""The HTTP API: another way into the queue, an operator's hand on it, and questions to it, for programs."""
