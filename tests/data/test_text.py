"""Corpora: vocabulary, words as indices, questions, the formats that are taken and what is refused."""

import bz2
import gzip
import hashlib
import lzma
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from infwidth.data import fil9, planted_corpus, questions, text, text8, wikifil
from infwidth.data.archives import Download
from infwidth.data.catalog import obtain
from infwidth.data.planted_corpus import PlantedConfig
from infwidth.errors import ConfigError, DataError

TEXT = " the cat saw the dog and the dog saw a cat "
CONTENT = TEXT.encode()
QUESTIONS = ": animal-pairs\nCat dog the saw\ncat bird the saw\n\n: gram1-verbs\nsaw the cat dog\n"


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "mine.txt").write_text(QUESTIONS)
    return folder


def config(tmp_path, mirror, name="text_file", **more):
    keys = {
        "name": name,
        "min_count": 2,
        "root": str(tmp_path / "data"),
        "mirror": str(mirror),
        "questions": str(mirror / "mine.txt"),
    }
    return {**keys, **({"path": str(tmp_path / "corpus")} if name == "text_file" else {}), **more}


def prepared(tmp_path, mirror, content=CONTENT, **more):
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
    tokens, words, counts = text.indexed(blocks, 1, "here")
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
        (b"# Title", {}, "has a character .b'#'. at byte 0; .*data=text_file with data.clean=true makes it"),
        (b"# 1.5 % ...", {"clean": True, "min_count": 9}, "no word at least data.min_count=9 times"),
        (b"# % ...", {"clean": True}, "has no words; give another file"),
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


def test_another_file_at_the_same_path_is_other_data(tmp_path, mirror):
    first = prepared(tmp_path, mirror)
    assert prepared(tmp_path, mirror, (TEXT * 2).encode()).checksum != first.checksum


@pytest.mark.parametrize(
    "content, message",
    [
        (": a\ncat dog the\n", "line 2: a question has four words, this one has 3"),
        ("cat dog the saw\n", "line 1: the first question stands before any section"),
        (": a b\n", "line 1: a section is ': name'"),
        (": a\n", "has sections but no questions"),
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


def test_an_own_text_needs_no_questions(tmp_path, mirror, monkeypatch, capsys):
    found = prepared(tmp_path, mirror, questions=None)
    assert found.arrays["questions"].shape == (0, 4) and found.arrays["questions"].dtype == np.int32
    assert found.arrays["sections"].shape == (0,) and found.manifest["sections"] == []
    assert list(found.manifest["source"]) == [str(tmp_path / "corpus")]
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "questions" in line]
    assert "corpus has no analogy questions" in said and "data.questions=FILE" in said
    (mirror / "empty.txt").write_text("\n")
    assert prepared(tmp_path, mirror, questions=str(mirror / "empty.txt")).checksum == found.checksum
    assert prepared(tmp_path, mirror, questions="").checksum == found.checksum

    monkeypatch.setattr(questions, "OFFICIAL", Download("unused", hashlib.md5(QUESTIONS.encode()).hexdigest()))
    (mirror / "questions-words.txt").write_text(QUESTIONS)
    assert len(prepared(tmp_path, mirror, questions=None).arrays["questions"]) == 3
    (mirror / "questions-words.txt").unlink()  # what is prepared does not need it any more
    assert len(obtain(config(tmp_path, mirror, questions=None)).arrays["questions"]) == 3
    assert "no analogy questions" not in capsys.readouterr().out


def test_official_texts_need_the_official_questions(tmp_path, mirror, monkeypatch):
    def offline(*arguments):
        raise DataError("no connection.")

    monkeypatch.setattr(Download, "fetch", offline)
    (mirror / "simple8").write_text(TEXT)
    with pytest.raises(DataError, match="questions-words.txt was not found"):
        obtain(config(tmp_path, mirror, name="simple8", questions=None))


def test_the_official_questions_are_verified(tmp_path, mirror, monkeypatch):
    (mirror / "questions-words.txt").write_text(QUESTIONS)
    with pytest.raises(DataError, match="is not the official file .* set data.questions=FILE"):
        prepared(tmp_path, mirror, questions=None)
    official = Download("unused", hashlib.md5(QUESTIONS.encode()).hexdigest())
    monkeypatch.setattr(questions, "OFFICIAL", official)
    assert len(prepared(tmp_path, mirror, questions=None).arrays["questions"]) == 3


def test_text8_is_not_satisfied_by_another_text(tmp_path, mirror, monkeypatch):
    (mirror / "text8").write_text(TEXT)
    wanted = config(tmp_path, mirror, name="text8")
    with pytest.raises(DataError, match="it ends 99999957 bytes early; fetch it again"):
        obtain(wanted)
    monkeypatch.setattr(text8, "BYTES", len(TEXT))
    with pytest.raises(DataError, match="they have md5"):
        obtain(wanted)
    monkeypatch.setattr(text8, "MD5", hashlib.md5(TEXT.encode()).hexdigest())
    assert obtain(wanted).manifest["label"] == "text8"


def test_simple8_stands_in_only_where_text8_does_not_lie(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(text8, "BYTES", len(TEXT))
    monkeypatch.setattr(text8, "MD5", hashlib.md5(TEXT.encode()).hexdigest())
    (mirror / "simple8.xz").write_bytes(lzma.compress(TEXT.encode()))
    either = config(tmp_path, mirror, name="text8_or_simple8")
    assert obtain(either).manifest["label"] == "simple8"
    (mirror / "text8.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert obtain(either).manifest["label"] == "text8"


def test_what_cannot_be_downloaded_says_so(tmp_path, mirror):
    with pytest.raises(DataError, match="simple8 was not found .* no official address"):
        obtain(config(tmp_path, mirror, name="simple8"))
    with pytest.raises(ConfigError, match="data=text_file needs data.path"):
        obtain(config(tmp_path, mirror, path=None))
    with pytest.raises(DataError, match="nowhere does not exist"):
        obtain(config(tmp_path, mirror, path="nowhere"))


DUMP = """<page><title>One</title><text xml:space="preserve">'''Cats''' are [[mammal|mammals]],
&lt;b&gt;4&lt;/b&gt; legs &amp;nbsp; each.
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


def in_blocks(content, size):
    return [content[i : i + size] for i in range(0, len(content), size)]


RAW = "\ufeff# The <b>Cat</b>s, 1 &amp; 2\n\nR&D caf\u00e9; a < b\nend"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_text_is_converted_line_by_line(size):
    found = b"".join(wikifil.converted(in_blocks(RAW.encode(), size)))
    assert found == b" the cats one two r a b end"
    assert b"".join(text.checked([found], "here")) == found


@pytest.mark.parametrize("size", [64, 4096])
def test_a_dump_is_recognised(size):
    dump = DUMP.encode()
    assert b"".join(wikifil.converted(in_blocks(dump, size))) == b"".join(wikifil.cleaned([dump]))


def test_a_long_line_is_cut_between_words(monkeypatch):
    monkeypatch.setattr(wikifil, "LONGEST", 10)
    assert list(wikifil.pieces(b"one two three abcdefghijklm")) == [b"one two", b" three", b" abcdefghi", b"jklm"]
    assert b"".join(wikifil.converted([b"One, two. Three four"])) == b" one two three four"


def test_a_text_of_ones_own_is_converted(tmp_path, mirror):
    content = b"# The cat saw the dog. And:\nThe DOG saw a cat!"
    found = prepared(tmp_path, mirror, content, clean=True)
    assert found.checksum == prepared(tmp_path / "data", mirror, CONTENT, path=str(tmp_path / "data/corpus")).checksum
    assert found.manifest["label"] == "corpus (cleaned)"
    assert prepared(tmp_path, mirror, content, clean=True, bytes=8, min_count=1).arrays["tokens"].size == 2


def test_enwik9_is_cleaned_and_must_begin_with_text8(tmp_path, mirror, monkeypatch):
    dump = DUMP.encode()
    (mirror / "enwik9").write_bytes(dump)
    cleaned = b"".join(wikifil.cleaned([dump]))
    monkeypatch.setattr(fil9, "ENWIK9_BYTES", len(dump))
    monkeypatch.setattr(fil9, "ENWIK9_MD5", hashlib.md5(dump).hexdigest())
    monkeypatch.setattr(text8, "BYTES", 10)
    wanted = config(tmp_path, mirror, name="fil9", min_count=1)
    with pytest.raises(DataError, match="fil9, made from .* is not what it should be"):
        obtain(wanted)
    monkeypatch.setattr(text8, "MD5", hashlib.md5(cleaned[:10]).hexdigest())
    assert "mammals" in text.as_words(obtain(wanted).arrays["words"])


PLANTED = PlantedConfig(
    running_words=5000, pairs=5, topic_words=3, role_words=4, common_words=10, sentence=8, questions=7
)


def test_the_planted_corpus_is_deterministic_and_has_its_analogies():
    arrays, manifest = planted_corpus.prepare(PLANTED)
    again, _ = planted_corpus.prepare(PLANTED)
    assert all((arrays[k] == again[k]).all() for k in arrays)
    words = text.as_words(arrays["words"])
    assert len(arrays["tokens"]) == 5000 and len(set(words)) == len(words) and (np.diff(arrays["counts"]) <= 0).all()
    assert (arrays["questions"] >= 0).all() and len(arrays["questions"]) == 21
    a, b, c, d = arrays["questions"].T
    assert (a != c).all() and len(set(a) & set(b)) == 0
    assert "city-in-state" in manifest["sections"] and questions.syntactic(manifest["sections"][2])


def test_more_planted_words_than_can_be_made_are_refused():
    with pytest.raises(ConfigError, match="would have 1800196 different words, at most 200000 .* lower data.pairs"):
        planted_corpus.prepare(replace(PLANTED, pairs=100_000, topic_words=4, common_words=172))
