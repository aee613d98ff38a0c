"""Runs a job: windows, encodings, methods, label map; here or in the worker process."""
