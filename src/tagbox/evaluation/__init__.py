"""Evaluation of predictions against a dataset: scoring, thresholds, intervals of AP, comparison, diagnosis."""
