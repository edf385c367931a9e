"""Adapters for other Python libraries, each behind an extra of its name.

- `fsspec`: the files of an image as an fsspec file system.
"""
