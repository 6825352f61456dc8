"""Recurrent cores that are trained over a whole sequence at once, or have a closed form."""
