"""The platform as processes that are killed while customers use it."""
