"""What is run, on what, and how it comes back: the place, the session, the bar."""
