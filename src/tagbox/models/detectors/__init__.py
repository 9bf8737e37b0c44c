"""Detectors: one folder, one face (`base.Detector`), whoever's architecture it is."""
