"""The only way out: reserve, sign once, save the bytes, send them, and follow them to finality."""
