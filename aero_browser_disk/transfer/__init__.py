"""Import and export: from a file of any known format into a local image, and out again.

- `image_import`: reads a file or stream, whatever its format, into the store of an image.
- `image_export`: writes a disk as a raw image, compressed if wanted.
- `image_pack`: writes a disk as a prepared image; `pack_folder`: the folder that it is written to;
  `pack_check`: whether one is whole, and which files nothing needs any more.
"""
