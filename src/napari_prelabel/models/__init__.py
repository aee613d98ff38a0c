"""The only importers of open_clip; importing this package loads none of them."""
