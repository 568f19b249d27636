"""Measurements of the statistics on models that are trained on the spot."""
