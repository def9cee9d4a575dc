"""Independent formulas of what the package computes, in NumPy, SciPy or scikit-learn at float64.

A module here registers cases with `reference.parity.parity`; `tests/test_parity.py` tries all of them and
`benchmarks/parity.py` prints them as a table.
"""
