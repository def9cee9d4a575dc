"""Cleaning across rows and modalities: leaks, labels, pairs. They use models, so they live above the other ops."""
