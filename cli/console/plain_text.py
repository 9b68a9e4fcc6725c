"""Text made safe and legible for a terminal: no control characters, and signs where it knows only ASCII."""

from __future__ import annotations

import codecs


def plain(text: str) -> str:
    """Text with its control characters, which a terminal would obey, written as escapes.

    >>> plain("[bold]x[/]"), plain("a" + chr(27) + "[31m")
    ('[bold]x[/]', 'a\\\\x1b[31m')
    """
    from sics_analysis.report.words import phrases as report_text  # only now: `--help` loads none of it

    return report_text.plain(text)


#: What stands for a character that the terminal's encoding does not have: one column each, so that tables keep their shape.
_ASCII = str.maketrans("−–─κδαρφσλΠ≤≥±▲▼≡✓✗→²³·…", "---kdarpslP<>~^v#+x>23..")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "replace").decode(), error.end


#: Name of the error handler for output streams.
LEGIBLE = "sics-legible"
codecs.register_error(LEGIBLE, _replace)
