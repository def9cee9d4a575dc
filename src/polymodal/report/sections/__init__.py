"""The sections of a report.

Each function takes `evaluation.json` and gives what the template shows, or None where the input says nothing about it;
the section and its link are then left out.
"""
