"""From a Wikipedia dump to text8-format text: the cleaning rules by which fil9 and text8 were made from enwik9.

The rules are those that Matt Mahoney published with the corpora; the implementation is our own. Its check is built in:
the first 100,000,000 bytes of fil9 are text8, whose md5 is known.
"""

import re
from collections.abc import Iterable, Iterator

DIGITS = {str(i): f" {word} " for i, word in enumerate("zero one two three four five six seven eight nine".split())}

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


def cleaned_record(record: str) -> str:
    """A stretch of an article as lower-case a-z words, a single space before each, digits spelled out."""
    record = FIRST_TAG.sub("", record, count=1)
    for pattern, replacement in RULES:
        record = pattern.sub(replacement, record)
    record = re.sub(r"[0-9]", lambda m: DIGITS[m[0]], f" {record} ".lower())
    return re.sub(r"[^a-z]+", " ", record)[:-1]


def records(stream: Iterable[bytes]) -> Iterator[str]:
    """The dump cut behind every '>': in the escaped text of an article there is none, so a record is a tag or a whole text."""
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
            yield cleaned_record(record).encode()
