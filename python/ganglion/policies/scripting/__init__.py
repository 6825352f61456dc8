"""A policy prepared for export: a copy that can be recorded, and the TorchScript module that keeps its own state."""
