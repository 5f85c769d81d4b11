"""Withdrawals: a table of states, the officers' approvals and the workflow between them."""
