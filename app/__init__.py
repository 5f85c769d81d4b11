"""People and processes: the only room that reads the environment or imports the web framework."""
