"""Tells whether two language models share a lineage."""
