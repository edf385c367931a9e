"""Relays images from a list of servers that send no CORS headers."""
