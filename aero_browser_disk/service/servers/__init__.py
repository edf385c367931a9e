"""The HTTP servers that run the service: uvicorn and granian."""
