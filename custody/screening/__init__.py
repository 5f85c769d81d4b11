"""Screening: sanctions lists, providers, and the data that travels with a payment."""
