"""Corrections by key, tidying, and keeping them on disk."""
