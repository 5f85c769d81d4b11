"""Everything that knows a chain by name. Other rooms import `chains.base` and are handed a `Chain`."""
