"""Carrying out a recipe: parts of a table through ops, on this machine or on Ray, with nothing lost."""
