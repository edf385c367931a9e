"""The command `aero-disk`."""
