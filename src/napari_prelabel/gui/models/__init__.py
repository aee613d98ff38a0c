"""Choosing models, encoders and reference sets; fetching what is not here."""
