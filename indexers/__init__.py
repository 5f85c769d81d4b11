"""One loop that follows any chain: blocks, reorganisations, finality, reconciliation."""
