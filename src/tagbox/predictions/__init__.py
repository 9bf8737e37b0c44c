"""What a classifier or a detector outputs, in columns; thresholds, alignment with a dataset, and the files of predictions."""
