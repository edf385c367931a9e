"""Small records that survive a crash: of each stored folder, and a two-copy file header.

- `journal_header`: a header in two copies, of which the newer valid one counts.
- `record`: what is known of one image, overlay or cache.
- `folders`: the folders of an origin: made, found by name, claimed and cleared.
"""
