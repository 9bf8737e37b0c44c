"""Checks of datasets: findings with place and remedy, and statistics."""

from tagbox.checks.check import check_dataset as check_dataset
from tagbox.checks.check import check_datasets as check_datasets
