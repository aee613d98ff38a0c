"""The Pre-label dock."""
