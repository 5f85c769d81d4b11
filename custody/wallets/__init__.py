"""Addresses we issued and wallets we own."""
