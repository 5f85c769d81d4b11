"""The whole way on one machine, with real processes and a real node, and a page to look at."""
