"""The read path of a remote image: shared memory, cache, a fetch under way, the network.

- `open_remote`: from a URL to a disk; `remote_options`: its options.
- `streaming_disk`: the disk; `fetch_queue` and `block_fetch` are its requests, `block_sink` takes
  the blocks that these bring, `cache_growth` sees to space for them.
- `boot_recorder`: what a guest reads first.
- `readahead`, `strides`, `prefetch`, `boot_profile`: what is fetched before it is read.
- `digest_list`: the digests that an image's chunks are checked against.
- `cache_folder`, `tab_sharing`: where the blocks go, and several tabs with one image.
- `bulk_read`, `background_reads`: a whole disk in order, and reads that count as nobody's.
- `shared_disk`, `shared_blocks`: a disk that other threads read through shared memory.
- `activity`, `disk_map`: what a disk does, for those who watch.
"""
