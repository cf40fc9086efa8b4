"""What the tests share: the running system, its traces, a caller with a span of its own, and the table of results."""
