"""Policies of Pyrado (SimuRLacra), whole."""
