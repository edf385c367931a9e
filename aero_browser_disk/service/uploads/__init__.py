"""Uploads from a browser straight to a bucket, and the records of them."""
