"""The command `aero-disk`.

- `main`: runs a command, and turns errors into messages and exit statuses. `parser`: its words.
- `opening`: the options that commands share, and the disk, library or base that they name.
- One module for each group: `disk_commands`, `file_commands`, `cache_commands`,
  `library_commands`, `overlay_commands`, `diagnose_command`, `completion_command`, and
  `mount_command` with the file system that it mounts, `mounted_disk`.
- `standard_files` has standard output and error take what is written, or fail.
- `documents` reads the files that options name, `output` is what is written, `messages` says an
  error in the words of a command line.
"""
