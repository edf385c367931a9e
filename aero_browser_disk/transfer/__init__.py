"""Import and export: from a file of any known format into a local image, and out again.

- `image_import`: reads a file or stream, whatever its format, into the store of an image.
- `image_export`: writes a disk as a raw image, compressed if wanted.
"""
