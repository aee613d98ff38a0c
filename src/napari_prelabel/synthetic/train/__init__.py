"""Training of the demo models: ``python -m napari_prelabel.synthetic.train clip``."""
