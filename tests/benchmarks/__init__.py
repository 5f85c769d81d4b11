"""Benchmarks: our figure, the peer's and the floor side by side from one run on one machine."""
