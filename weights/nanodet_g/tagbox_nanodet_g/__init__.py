"""NanoDet-g with its COCO weights as a detector that tagbox loads; see NOTICE for their origin."""
