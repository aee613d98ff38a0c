"""Reference sets of ReME: segments with their words, stored, cleaned and searched."""
