"""The read path of a remote image: shared memory, cache, a fetch under way, the network.

- `open_remote`: opens a URL as a disk; `remote_options`: its options.
- `prepared_files`: the files of a prepared image, without a cache; `prepared_source`: with one;
  `kept_blocks`: what is cached of an older version.
- `streaming_disk`: the disk. `fetch_queue` and `block_fetch` send its requests, `block_sink`
  verifies and caches the blocks, `cache_growth` gets space for them.
- `boot_recorder`: records which blocks a guest reads first.
- `readahead`, `strides`, `prefetch`, `boot_profile`: what is fetched before it is read.
- `digest_list`: the digests that an image's chunks are checked against.
- `cache_folder`, `tab_sharing`: where the blocks go, and several tabs with one image.
- `bulk_read`, `background_reads`: reading a whole disk, and reads that are not the guest's.
- `shared_disk`, `shared_blocks`: a disk that other threads read through shared memory.
- `activity`, `disk_map`: what a disk does, and its map for a page to draw.
"""
