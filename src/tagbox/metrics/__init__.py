"""Metrics as pure functions of NumPy arrays: truth, scores and thresholds in, numbers and intervals out."""
