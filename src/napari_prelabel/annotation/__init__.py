"""An annotated label map without a window: whose each pixel is, edits, undo, tally, keeping."""
