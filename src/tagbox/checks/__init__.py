"""What is wrong with a dataset, where, and how to mend it; and its statistics."""

from tagbox.checks.check import check_dataset as check_dataset
from tagbox.checks.check import check_datasets as check_datasets
