"""Text of others in Markdown: shown as it is, whatever it holds."""

import html


def plain(text: str) -> str:
    """Text that is no HTML, no link and no code, and stays in its line and in the cell of a table."""
    text = html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("`", "'")
    return text.replace("](", "]\\(").replace("][", "]\\[").replace("]:", "\\]:")
