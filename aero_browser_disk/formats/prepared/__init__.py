"""Prepared images: a manifest, a paged table of chunks, and files named by their SHA-256.

The guide's page on prepared images has the format to the byte.

- `manifest`: the JSON document that an image begins with.
- `chunk_table`: the pages of the table: their encoding, reading and writing.
- `stored_files`: files named by their digest, wherever they are; proved before they are used.
- `chunk_codec`: a chunk as it is stored.
- `boot_bundle`: what a boot reads, in its order.
- `layout`: the `ImageLayout` over all of them.
"""
