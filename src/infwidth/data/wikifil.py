"""From a Wikipedia dump, or any text, to text8 format by the rules by which fil9 and text8 were made from enwik9.

The rules are those that Matt Mahoney published with the corpora; the implementation is our own. Its check is built in:
the first 100,000,000 bytes of fil9 are text8, whose md5 is known.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

DIGITS = {str(i): f" {word} " for i, word in enumerate("zero one two three four five six seven eight nine".split())}

LONGEST = 4096
"""Bytes of a line that are converted at once: the time that the rules take can grow with their square."""

FIRST_TAG = re.compile(r"<.*>", re.ASCII)  # on one line, once a record: the tag that ends it

# In the order in which they are applied to each record.
RULES = [
    (re.compile(pattern, re.ASCII | (re.IGNORECASE if ignore_case else 0)), replacement)
    for pattern, replacement, ignore_case in [
        (r"&amp;", "&", False),
        (r"&lt;", "<", False),
        (r"&gt;", ">", False),
        (r"<ref[^<]*</ref>", "", False),  # references
        (r"<[^>]*>", "", False),  # XHTML tags
        (r"\[http:[^] ]*", "[", False),  # an external link keeps its words
        (r"\|thumb", "", True),  # layout of images
        (r"\|left", "", True),
        (r"\|right", "", True),
        (r"\|\d+px", "", True),
        (r"\[\[image:[^\[\]]*\|", "", True),
        (r"\[\[category:([^|\]]*)[^]]*\]\]", r"[[\1]]", True),  # categories without their markup
        (r"\[\[[a-z\-]*:[^\]]*\]\]", "", False),  # links to other languages
        (r"\[\[[^|\]]*\|", "[[", False),  # of a link, what is shown
        (r"\{\{[^}]*\}\}", "", False),  # templates
        (r"\{[^}]*\}", "", False),
        (r"[\[\]]", "", False),
        (r"&[^;]*;", " ", False),  # entities
    ]
]


def plain(text: str) -> str:
    """A stretch of text as lower-case a-z words, a single space before each, digits spelled out, without markup."""
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    text = re.sub(r"[0-9]", lambda m: DIGITS[m[0]], f" {text} ".lower())
    return re.sub(r"[^a-z]+", " ", text)[:-1]


def records(stream: Iterable[bytes]) -> Iterator[str]:
    """The dump cut behind every '>': a record is a tag or, as an article's text is escaped, the whole of a text."""
    rest = b""
    for block in stream:
        *whole, rest = (rest + block).split(b">")
        yield from (f"{r.decode('latin-1')}>" for r in whole)  # byte by byte: what is not ASCII becomes a space
    if rest:
        yield rest.decode("latin-1")


def cleaned(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The text of a dump's articles, redirects left out."""
    inside = False
    for record in records(stream):
        inside = inside or "<text " in record
        if re.search(r"#redirect", record, re.IGNORECASE):
            inside = False
        if inside:
            inside = "</text>" not in record
            yield plain(FIRST_TAG.sub("", record, count=1)).encode()


def converted(stream: Iterable[bytes]) -> Iterator[bytes]:
    """text8 format of a file: of a dump's articles, or of any other text line by line."""
    blocks = iter(stream)
    beginning = next(blocks, b"")
    blocks = itertools.chain([beginning], blocks)
    if beginning.lstrip().startswith((b"<mediawiki", b"<page")):
        return cleaned(blocks)
    return (plain(piece.decode("latin-1")).encode() for line in lines(blocks) for piece in pieces(line))


def lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream of blocks; a line may go over many of them."""
    begun: list[bytes] = []
    for block in stream:
        end, *others = block.split(b"\n")
        begun.append(end)
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun = [others[-1]]
    yield b"".join(begun)


def pieces(line: bytes) -> Iterator[bytes]:
    """A line cut before spaces into pieces of at most LONGEST bytes; a word longer than that is cut."""
    start = 0
    while start < len(line):
        end = start + LONGEST
        if end < len(line):
            space = line.rfind(b" ", start, end)
            end = space if space > start else end
        yield line[start:end]
        start = end
