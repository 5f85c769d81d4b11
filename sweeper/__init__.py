"""Decides what to move between own wallets; never signs, never posts."""
