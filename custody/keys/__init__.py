"""Keys: derivation, canonical intents, officers, mandates, signers and the guard."""
