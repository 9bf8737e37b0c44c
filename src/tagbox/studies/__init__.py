"""Hyperparameter search: many trainings over a recipe's ranges."""
