"""Prepared images: a manifest, a paged table of chunks, and files named by their SHA-256.

The guide's page on prepared images specifies the format.

- `manifest`: the JSON document that an image begins with.
- `chunk_table`: the pages of the table: their encoding, reading and writing.
- `stored_files`: files named by their digest, wherever they are; verified before they are used.
- `chunk_codec`: how a chunk is stored.
- `boot_bundle`: the blocks that a boot reads, in its order.
- `layout`: the `ImageLayout` over all of them.
"""
