"""Corpora: vocabulary, words as indices, questions, the formats that are taken and what is refused."""

import bz2
import gzip
import hashlib
import lzma
import zipfile

import numpy as np
import pytest

from infwidth.data import catalog, planted, questions, text, wikifil
from infwidth.data.archives import Download
from infwidth.data.catalog import obtain
from infwidth.errors import ConfigError, DataError

TEXT = " the cat saw the dog and the dog saw a cat "
QUESTIONS = ": animal-pairs\nCat dog the saw\ncat bird the saw\n\n: gram1-verbs\nsaw the cat dog\n"


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "mine.txt").write_text(QUESTIONS)
    return folder


def config(tmp_path, mirror, **more):
    return {
        "name": "text_file",
        "path": str(tmp_path / "corpus"),
        "min_count": 2,
        "root": str(tmp_path / "data"),
        "mirror": str(mirror),
        "questions": str(mirror / "mine.txt"),
        **more,
    }


def prepared(tmp_path, mirror, content=TEXT.encode(), **more):
    (tmp_path / "corpus").write_bytes(content)
    return obtain(config(tmp_path, mirror, **more))


def test_vocabulary_by_count_then_alphabet(tmp_path, mirror):
    found = prepared(tmp_path, mirror)
    words = text.as_words(found.arrays["words"])
    assert words == ["the", "cat", "dog", "saw"] and found.arrays["counts"].tolist() == [3, 2, 2, 2]
    assert [words[t] for t in found.arrays["tokens"]] == "the cat saw the dog the dog saw cat".split()
    assert found.arrays["tokens"].dtype == np.int32 and isinstance(found.arrays["tokens"], np.memmap)
    assert found.arrays["questions"].tolist() == [[1, 2, 0, 3], [1, -1, 0, 3], [3, 0, 1, 2]]
    assert found.arrays["sections"].tolist() == [0, 0, 1] and found.manifest["sections"] == [
        "animal-pairs",
        "gram1-verbs",
    ]
    assert found.manifest["kind"] == "text" and found.manifest["label"] == "corpus"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_words_across_blocks_are_whole(size):
    blocks = [TEXT.encode()[i : i + size] for i in range(0, len(TEXT), size)]
    tokens, words, counts = text.indexed(blocks, 1)
    assert [words[t] for t in tokens] == TEXT.split() and counts.sum() == len(TEXT.split())


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".xz", ".zip"])
def test_compressed_files_give_the_same_arrays(tmp_path, mirror, suffix):
    plain = prepared(tmp_path, mirror)
    path = tmp_path / f"corpus{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("corpus", TEXT)
    else:
        path.write_bytes({".txt": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](TEXT.encode()))
    assert obtain(config(tmp_path, mirror, path=str(path))).checksum == plain.checksum


def test_a_part_of_the_text(tmp_path, mirror):
    found = prepared(tmp_path, mirror, bytes=12, min_count=1)
    assert (
        text.as_words(found.arrays["words"]) == ["cat", "saw", "the"]
        and found.manifest["label"] == "corpus (first 1.2e-05 MB)"
    )


@pytest.mark.parametrize(
    "content, more, message",
    [
        (b"the cat Saw", {}, "upper-case letter .b'S'. at byte 8"),
        ("the café".encode(), {}, "a byte of UTF-8 text .* at byte 7"),
        (b"the cat, the dog", {}, "has a character .b','. at byte 7"),
        (b"", {}, "has no words; give another file"),
        (b"   \n ", {}, "has no words; give another file"),
        (b"a b c", {}, "no word at least data.min_count=2 times"),
    ],
)
def test_a_text_that_is_none_is_named_and_nothing_is_prepared(tmp_path, mirror, content, more, message):
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, mirror, content, **more)
    assert list((tmp_path / "data/prepared").iterdir()) == []


@pytest.mark.parametrize(
    "suffix, content",
    [
        (".gz", gzip.compress(b"the cat " * 999)[:40]),
        (".xz", lzma.compress(b"a " * 999)[:30]),
        (".zip", b"PK nothing"),
        (".xz", bz2.compress(b"a")),
    ],
    ids=["gz cut", "xz cut", "no zip", "no xz"],
)
def test_a_damaged_archive_is_named(tmp_path, mirror, suffix, content):
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"corpus{suffix} is not a whole {suffix} file"):
        obtain(config(tmp_path, mirror, path=str(path)))


def test_an_interrupted_preparation_leaves_nothing(tmp_path, mirror, monkeypatch):
    def stopped(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(np, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path, mirror)
    assert list((tmp_path / "data/prepared").iterdir()) == []
    assert len(prepared(tmp_path, mirror).arrays["tokens"]) == 9


def test_another_file_at_the_same_path_is_other_data(tmp_path, mirror):
    first = prepared(tmp_path, mirror)
    assert prepared(tmp_path, mirror, (TEXT * 2).encode()).checksum != first.checksum


@pytest.mark.parametrize(
    "content, message",
    [
        (": a\ncat dog the\n", "line 2: a question has four words, this one 3"),
        ("cat dog the saw\n", "line 1: the first question stands before any section"),
        (": a b\n", "line 1: a section is ': name'"),
        ("\n\n", "has no questions"),
    ],
)
def test_wrong_questions_are_named(tmp_path, mirror, content, message):
    (mirror / "mine.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, mirror)


def test_a_question_file_of_ones_own(tmp_path, mirror):
    (tmp_path / "mine.txt").write_text(": mine\nthe cat dog saw\n")
    assert prepared(tmp_path, mirror, questions=str(tmp_path / "mine.txt")).manifest["sections"] == ["mine"]
    with pytest.raises(DataError, match="cannot be read"):
        prepared(tmp_path, mirror, questions=str(tmp_path / "absent.txt"))


def test_the_official_questions_are_verified(tmp_path, mirror, monkeypatch):
    (mirror / "questions-words.txt").write_text(QUESTIONS)
    with pytest.raises(DataError, match="is not the official file .* set data.questions=FILE"):
        prepared(tmp_path, mirror, questions=None)
    official = Download("unused", hashlib.md5(QUESTIONS.encode()).hexdigest())
    monkeypatch.setattr(questions, "OFFICIAL", official)
    assert len(prepared(tmp_path, mirror, questions=None).arrays["questions"]) == 3


def test_text8_is_not_satisfied_by_another_text(tmp_path, mirror, monkeypatch):
    (mirror / "text8").write_text(TEXT)
    wanted = config(tmp_path, mirror, name="text8", path=None)
    with pytest.raises(DataError, match="it ends 99999957 bytes early; fetch it again"):
        obtain(wanted)
    monkeypatch.setattr(text, "TEXT8_BYTES", len(TEXT))
    with pytest.raises(DataError, match="they have md5"):
        obtain(wanted)
    monkeypatch.setattr(text, "TEXT8_MD5", hashlib.md5(TEXT.encode()).hexdigest())
    assert obtain(wanted).manifest["label"] == "text8"


def test_simple8_stands_in_only_where_text8_does_not_lie(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(text, "TEXT8_BYTES", len(TEXT))
    monkeypatch.setattr(text, "TEXT8_MD5", hashlib.md5(TEXT.encode()).hexdigest())
    (mirror / "simple8.xz").write_bytes(lzma.compress(TEXT.encode()))
    either = config(tmp_path, mirror, name="text8_or_simple8", path=None)
    assert obtain(either).manifest["label"] == "simple8"
    (mirror / "text8.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert obtain(either).manifest["label"] == "text8"


def test_what_cannot_be_downloaded_says_so(tmp_path, mirror):
    with pytest.raises(DataError, match="simple8 was not found .* no official address"):
        obtain(config(tmp_path, mirror, name="simple8", path=None))
    with pytest.raises(ConfigError, match="data=text_file needs data.path"):
        obtain(config(tmp_path, mirror, path=None))
    with pytest.raises(DataError, match="nowhere does not exist"):
        obtain(config(tmp_path, mirror, path="nowhere"))


DUMP = """<page><title>One</title><text xml:space="preserve">'''Cats''' are [[mammal|mammals]], &lt;b&gt;4&lt;/b&gt; legs &amp;nbsp; each.
{{infobox}} See [http://a.org/x this page] and [[Category:Animals|cats]] [[de:Katze]] [[image:c.png|thumb|20px|a cat]]
&lt;ref&gt;gone&lt;/ref&gt; caf\u00e9 {| table |}</text></page>
<page><text>#REDIRECT [[Dog]]</text></page><page><text xml:space="preserve">Dogs 12</text></page>
"""


@pytest.mark.parametrize("size", [5, 64, 4096])
def test_a_dump_is_cleaned_by_the_rules_of_text8(size):
    dump = DUMP.encode()
    found = b"".join(wikifil.cleaned(dump[i : i + size] for i in range(0, len(dump), size)))
    words = found.decode().split()
    assert words == "cats are mammals four legs each see this page and animals a cat caf dogs one two".split()
    assert b"  " not in found and found.startswith(b" cats")


def test_enwik9_is_cleaned_and_must_begin_with_text8(tmp_path, mirror, monkeypatch):
    dump = DUMP.encode()
    (mirror / "enwik9").write_bytes(dump)
    cleaned = b"".join(wikifil.cleaned([dump]))
    monkeypatch.setattr(text, "ENWIK9_BYTES", len(dump))
    monkeypatch.setattr(text, "ENWIK9_MD5", hashlib.md5(dump).hexdigest())
    monkeypatch.setattr(text, "TEXT8_BYTES", 10)
    wanted = config(tmp_path, mirror, name="fil9", path=None, min_count=1)
    with pytest.raises(DataError, match="fil9, made from .* is not what it should be"):
        obtain(wanted)
    monkeypatch.setattr(text, "TEXT8_MD5", hashlib.md5(cleaned[:10]).hexdigest())
    assert "mammals" in text.as_words(obtain(wanted).arrays["words"])


def test_every_corpus_is_in_the_catalog():
    assert set(catalog.CORPORA) <= set(catalog.CATALOG)


def planted_config(**more):
    return planted.PlantedConfig(
        name="planted_corpus",
        running_words=5000,
        pairs=5,
        topic_words=3,
        role_words=4,
        common_words=10,
        sentence=8,
        questions=7,
        min_count=1,
        bytes=None,
        generator_seed=0,
        **more,
    )


def test_the_planted_corpus_is_deterministic_and_has_its_analogies():
    arrays, manifest = planted.prepare(planted_config())
    again, _ = planted.prepare(planted_config())
    assert all((arrays[k] == again[k]).all() for k in arrays)
    words = text.as_words(arrays["words"])
    assert len(arrays["tokens"]) == 5000 and len(set(words)) == len(words) and (np.diff(arrays["counts"]) <= 0).all()
    assert (arrays["questions"] >= 0).all() and len(arrays["questions"]) == 21
    a, b, c, d = arrays["questions"].T
    assert (a != c).all() and len(set(a) & set(b)) == 0
    assert "city-in-state" in manifest["sections"] and questions.syntactic(manifest["sections"][2])
