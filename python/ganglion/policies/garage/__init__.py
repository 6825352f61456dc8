"""Policies of garage, whole."""
