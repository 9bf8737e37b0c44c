"""Checks of datasets: findings with place and remedy, and statistics."""
