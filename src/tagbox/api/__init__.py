"""The functions of the Python API that span several folders; the commands call the same ones."""
