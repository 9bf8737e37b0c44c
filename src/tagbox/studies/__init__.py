"""Many trainings of one question: the search over a recipe's ranges."""
