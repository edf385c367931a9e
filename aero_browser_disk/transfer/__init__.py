"""Import and export: from a file of any known format into a local image, and out again."""
