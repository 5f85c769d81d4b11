"""The history of the database's shape: one line of revisions, forwards only."""
