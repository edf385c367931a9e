"""Requests and responses: CORS, preconditions, ranges, the catalog, limits, logs and metrics."""
