"""What is said of a word that is none of the known ones: which of them is the closest, and which there are."""

import difflib
from collections.abc import Iterable


def unknown(what: str, word: str, known: Iterable[str], of: str = "") -> str:
    """The message for a word that is none of the known ones (of something), with the closest of them."""
    words = sorted(known)
    where = f" of {of}" if of else ""
    return f"unknown {what} {word!r}{where}.{did_you_mean(word, words)} Known: {', '.join(words) or 'none'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'pgd'?` of 'pdg', with the space before it; empty where no known word is close."""
    close = closest(word, known)
    return f" Did you mean {close!r}?" if close else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if any is alike."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
