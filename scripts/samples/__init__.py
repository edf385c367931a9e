"""Images to try and to test with, made here, and recordings of their boots."""
