"""Wallets of several owners: what they are asked to sign, by whom, and what became of it."""
