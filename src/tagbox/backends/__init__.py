"""Forward passes on OpenVINO and torch, and the cache of encoded features."""
