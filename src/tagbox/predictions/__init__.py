"""Predictions of labels and of boxes as columns: their thresholds, alignment with a dataset, and files."""
