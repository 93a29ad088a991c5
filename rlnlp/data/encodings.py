"""Bytes of a file as text, and a guess at how they are written where they are not as they were said to be."""

import codecs
import re

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8"),
)  # fmt: skip
SAMPLE = 2**16  # bytes that a guess looks at
KANA, HANGUL, CHINESE = "[\u3040-\u30ff]", "[\uac00-\ud7a3]", "[\u4e00-\u9fff]"
# by how large a part of the characters beyond ASCII are of the encoding's own language; the first that is one is it
LANGUAGES = (
    ("shift_jis", KANA, 0.2), ("cp932", KANA, 0.2), ("euc_jp", KANA, 0.2), ("cp1251", "[\u0430-\u044f]", 0.6),
    ("koi8_r", "[\u0430-\u044f]", 0.6), ("cp1253", "[\u03ac-\u03ce]", 0.7), ("euc_kr", HANGUL, 0.85),
    ("gb2312", CHINESE, 0.7), ("big5", CHINESE, 0.7), ("gb18030", CHINESE, 0.7),
)  # fmt: skip
RUN = re.compile(rb"[\x80-\xff]+")


def decoded(content: bytes, encoding: str, cut: bool) -> str:
    """``content`` as text, without a byte-order mark; a character that is ``cut`` off at its end is left out.

    Raises:
        UnicodeDecodeError: it is not written in ``encoding``, or is written in two bytes a character.
    """
    text = codecs.getincrementaldecoder(encoding)("strict").decode(content, final=not cut)
    if _wide(content) and "\x00" in text:
        raise UnicodeDecodeError(encoding, content, content.index(0), content.index(0) + 1, "it has zero bytes")
    return text.removeprefix("\ufeff")


def guess(content: bytes) -> str | None:
    """The encoding that ``content`` looks like; None if it does not look like text."""
    marked = next((name for mark, name in BOMS if content.startswith(mark)), None)
    sample = content[:SAMPLE]
    if marked is not None or (wide := _wide(content)):
        return marked or wide
    odd = len(re.findall(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", sample))
    if odd > len(sample) / 100:
        return None
    runs = RUN.findall(sample)
    if runs and sum(map(len, runs)) >= 1.7 * len(runs):  # letters of Latin script stand alone among ASCII
        for name, letters, part in LANGUAGES:
            if _part_of(sample, name, letters) >= part:
                return name
    return "cp1252" if _part_of(sample, "cp1252", ".") >= 0 else "latin-1"


def _wide(content: bytes) -> str | None:
    """UTF-16 without a mark, by the zero bytes of its ASCII characters."""
    sample = content[: SAMPLE // 2 * 2]
    even, odd = (sample[start::2].count(0) for start in (0, 1))
    if max(even, odd) * 5 < len(sample) or min(even, odd) * 10 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _part_of(sample: bytes, encoding: str, letters: str) -> float:
    """How large a part of the characters beyond ASCII are ``letters``; -1 if it is not written in ``encoding``."""
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(sample, final=False)
    except UnicodeDecodeError:
        return -1.0
    beyond = re.sub("[\x00-\x7f\u3000-\u303f\uff00-\uff20]", "", text)
    return len(re.findall(letters, beyond)) / max(1, len(beyond))
