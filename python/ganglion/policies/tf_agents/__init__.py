"""Actor policies of TF-Agents, whole."""
