"""The Reference dock: make a set from what was corrected, look at it, trust it or mend it."""
