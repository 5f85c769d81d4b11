"""Values every room speaks in: money, ids, time, randomness, errors. Standard library only."""
