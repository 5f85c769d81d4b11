"""Everything that knows a chain by name; other rooms see `chains.base` and are handed a `Chain`."""
