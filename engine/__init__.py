"""Matching, balances in trade, journal and snapshots. Knows no chain, no SQL, no HTTP."""
