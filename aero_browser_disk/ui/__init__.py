"""The image panel and the page around it: state, texts and decisions, as plain values.

Nothing here touches the DOM or JavaScript: `web/` renders what a view returns.
"""
