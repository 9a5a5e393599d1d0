"""What is said of a word that is none of the known ones: which of them is meant, and which there are."""

import difflib
from collections.abc import Iterable

from tasks.synonyms import SYNONYMS

_LONGEST = 60
"""Letters of a word that are shown."""


def unknown(what: str, word: str, known: Iterable[str], of: str = "") -> str:
    """The message for a word that is none of the known ones (of something), with the closest of them."""
    words = sorted(known)
    where = f" of {of}" if of else ""
    shown = word if len(word) <= _LONGEST else f"{word[: _LONGEST - 3]}..."
    return f"unknown {what} {shown!r}{where}.{did_you_mean(word, words)} Known: {', '.join(words) or 'none'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'pgd'?` of 'pdg', with the space before it; empty where no known word is close."""
    close = closest(word, known)
    return f" Did you mean {close!r}?" if close else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is meant by this one, if any is.

    In order: the same in another spelling (`Label-Smoothing`), what the field calls it (`iterations` is `steps`), the
    most alike, and the only one that begins so (`robust`).
    """
    spelt = {_plain(each): each for each in known}
    plain = _plain(word)
    likely = [plain, *SYNONYMS.get(plain, ()), *difflib.get_close_matches(plain, spelt, n=1)]
    beginning = [each for each in spelt if len(plain) > 2 and each.startswith(plain)]
    meant = [each for each in likely if each in spelt] or (beginning if len(beginning) == 1 else [])
    return spelt[meant[0]] if meant else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
