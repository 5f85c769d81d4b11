"""Solana and networks that run its programs."""
