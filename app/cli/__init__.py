"""The command line: noun, verb; data on standard output, talk on standard error."""
