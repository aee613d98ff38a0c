"""The dock widgets: the only importers of napari and Qt."""
