"""The image panel and the page around it: state, texts and decisions, as plain values.

- `panel`, `panel_settings`: the state of the panel; `panel_texts`, `panel_figures`: its words.
- `page_view`, `page_texts`: the page around it.
- `library_view`, `files_view`, `activity_view`, `doctor_view`: what each part of the page shows;
  `save_texts`: the words of its dialog for saves.

Nothing here touches the DOM or JavaScript: `web/` renders what a view returns.
"""
