"""Saves: overlays kept on the server, as chunks and a manifest that switches atomically."""
