"""Ops of the family augment, one file a kind of column."""
