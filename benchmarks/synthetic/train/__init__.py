"""Training of the demo models: ``python -m benchmarks.synthetic.train clip``."""
