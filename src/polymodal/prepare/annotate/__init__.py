"""Ops of the family annotate, one file a kind of column."""
