"""Everything that knows a chain by name. Other rooms import `chains.base` only and are handed a `Chain`."""
