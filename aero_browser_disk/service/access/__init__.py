"""Who may read what: bearer tokens, signed URLs, leases, CDN cookies, mTLS."""
