"""Output whose encoding lacks characters, as with LANG=C or on Windows: ASCII in their place, never an exception."""

import codecs
import sys

_ASCII = {
    "±": "+-", "×": "x", "…": "...", "−": "-", "–": "-", "—": "-", "·": ".", "→": "->", "≤": "<=", "≥": ">=",
    "µ": "u", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_HANDLER = "digits.ascii"
_RAISING = ("strict", "surrogateescape")  # Python's own choices for stdout; whoever chose another one keeps it.


def replace_missing() -> None:
    """From now on, stdout and stderr replace what their encoding lacks: "±" by "+-", any other character by its code.

    replace_missing()
    print("0.98 ± 0.01 (三)")  # 0.98 +- 0.01 (\\u4e09)
    """
    for stream in (sys.stdout, sys.stderr):
        # A notebook's streams, and those of other programs, have no encoding that can be changed.
        if getattr(stream, "errors", None) in _RAISING and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking), error.end


codecs.register_error(_HANDLER, _in_ascii)
