"""A document as HTML, Markdown, LaTeX or terminal text."""
