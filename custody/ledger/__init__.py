"""The books: double entry, one function that posts, and a database that refuses what is wrong."""
