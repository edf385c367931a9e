"""What guests write: local images, and copy-on-write overlays over any disk.

- `local_image`: a disk that is stored whole.
- `overlay`: a disk over a disk; `overlay_base` says which base fits, `overlay_file` and
  `overlay_digest` move and name one.
- `sector_store`: the file that both keep their sectors in. Its parts: `sector_reader`,
  `sector_writer`, `sector_padding`; `granule_table`, `slot_allocator`, `slot_checksums`;
  `transaction`, `commit_log`, `log_loading`, `log_reading`, `log_rewriting`, with the format in
  `sector_journal`.
- `store_snapshot`: a store as it was at one commit, read while it is written to; `range_set` has
  the granules that changed since.
- `salvage`: reads what is intact of a damaged one, with `bit_repair`.
"""
