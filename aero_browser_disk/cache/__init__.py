"""The durable block cache: two files for each image version, a limit, and LRU eviction.

- `block_cache`: which blocks are cached, in order of use, within the limit.
- `block_store`: the two files, slots and journal. Here a cached block is written, and verified
  before it is served.
- `journal_file`: the journal as a file; `block_journal`: its bytes.
- `budget`: one limit for the caches of all images.
"""
