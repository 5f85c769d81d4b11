"""Chains that spend coins."""
