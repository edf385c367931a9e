"""The command `aero-disk`: `main` reads the arguments, `commands` does the work."""
