"""Loss terms of the training objective (Eq. 8-10)."""
