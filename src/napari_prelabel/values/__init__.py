"""What crosses seams, NumPy only: errors, vocabulary, job, labels, metrics. The bottom of all."""
