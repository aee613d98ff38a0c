"""Pieces that every dock is made of: sections, labels, boxes for settings, colours."""
