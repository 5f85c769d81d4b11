"""Proof of reserves: one cut of the books and the chains, published so that anybody can check it."""
