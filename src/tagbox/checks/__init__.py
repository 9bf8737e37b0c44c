"""What is wrong with a dataset, where, and how to mend it; and its statistics."""
