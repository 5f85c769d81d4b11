"""Bitcoin, as far as signing goes: see chains.bitcoin.chain for what is not here yet."""
