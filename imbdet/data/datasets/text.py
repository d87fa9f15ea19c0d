"""Text files as people's tools write them: with or without a byte order mark, with any line ends."""

from __future__ import annotations

import codecs
import os
import stat

# UTF-16 is what Windows' Notepad once called Unicode; without a mark it is not looked for.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: str) -> str:
    """Return the text of a regular file, UTF-8 or, where its mark says so, UTF-16; line ends are those of Unix.

    Raises:
        ValueError: it cannot be read, is no regular file (a device, a pipe, a folder), or no such text.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError(f"{path}: is not a regular file")
        with open(path, "rb") as file:
            data = file.read()
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        near = error.object[error.start : error.start + 8]
        raise ValueError(f"{path}: is not text in UTF-8 (byte {error.start}: {near!r}); save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None


def read_lines(path: str) -> list[str]:
    """Return its lines without spaces around them; empty ones are kept, so that numbers of lines are those of an
    editor.
    """
    return [line.strip() for line in read_text(path).split("\n")]
