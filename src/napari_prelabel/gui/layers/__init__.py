"""napari's layers and what they mean: images as planes, labels as results, whose they are."""
