"""Why a URL can or cannot be streamed: see `diagnosis.diagnose`."""
