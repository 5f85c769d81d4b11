"""Decides what to move between our own wallets; never signs, never posts."""
