"""Proof of reserves: one cut of the books and the chains, published so that anyone can check it."""
