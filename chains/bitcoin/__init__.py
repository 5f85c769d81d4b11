"""Bitcoin: following its blocks, paying with coins of keys, and wallets of several owners.

What is built is bdk's work, what judges it is own code, and what signed is checked by btclib.
"""
