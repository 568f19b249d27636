"""Models as `provenance.inputs` knows them, with tokenizers of a line: by bytes, by words."""

import re

from provenance.inputs.ends import last_ends
from provenance.inputs.tokens import Reader
from provenance.loading.tokenizer import TokenizedText


def by_byte(text):
    """An id for each byte; all bytes of a character end where it does."""
    ends = [k + 1 for k, character in enumerate(text) for _ in character.encode()]
    return TokenizedText(list(text.encode()), last_ends(ends))


def by_byte_shifted(text):
    """The vocabulary of `by_byte`, renumbered."""
    read = by_byte(text)
    return TokenizedText([id_ + 1 for id_ in read.ids], read.ends)


def by_word(text):
    """An id for each word with the space in front of it."""
    words = list(re.finditer(r"\s*\S+|\s+$", text))
    return TokenizedText([len(word[0]) for word in words], [word.end() for word in words])


def behind(front, read):
    """What ``read`` reads, behind what is in front."""

    def in_front(text):
        plain = read(text)
        return TokenizedText(plain.ids, plain.ends, front)

    return in_front


def without_ends(read):
    """A tokenizer that does not say where its tokens end."""
    return lambda text: TokenizedText(read(text).ids)


def reader(name="a", vocabulary=257, positions=None, read=by_byte):
    """A model that reads by bytes, unless said otherwise."""
    return Reader(name, vocabulary, positions, read)
