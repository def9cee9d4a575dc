"""A `pretrain` run: encoders that learn from rows without labels."""
