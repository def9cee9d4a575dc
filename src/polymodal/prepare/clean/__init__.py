"""Ops of the family clean, one file a kind of column."""
