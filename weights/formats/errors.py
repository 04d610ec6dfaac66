"""What a reader says when it cannot go on; the entry points put the file's name before it."""


class FormatError(Exception):
    """The content is damaged, unsafe, or something else than it seemed; the message is half a sentence."""


def shown(text: object, limit: int = 80) -> str:
    """Return text out of a file so that it can be printed: ASCII, quoted, and not long."""
    quoted = ascii(text) if isinstance(text, str) else f"a {type(text).__name__}"
    return quoted if len(quoted) <= limit else f"{quoted[:limit]}...'"
