"""Why a URL can or cannot be streamed.

- `diagnosis`: `diagnose` and the findings that it returns. Its parts: `probe` sends the requests,
  `browser_view` is what a page of an origin may see of a response, `advice` is what to do.
- `report`: a diagnosis as lines for a terminal.
"""
