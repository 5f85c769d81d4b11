"""The books, the keys and the verbs: everything that moves money of customers or of the house."""
