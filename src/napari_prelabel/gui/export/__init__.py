"""Writing the labels where the person wants them."""
