"""Generated scenes: drawn objects with exact boxes on cluttered backgrounds, the same bytes for the same seed."""
