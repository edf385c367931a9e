"""Images of servers that send no CORS headers, passed on from a list of them."""
