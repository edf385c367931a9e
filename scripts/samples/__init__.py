"""Sample images for tests and for trying things out, and recordings of their boots."""
