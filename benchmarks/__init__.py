"""Benches that are run from a checkout, `python -m benchmarks NAME`; no part of the wheel."""
