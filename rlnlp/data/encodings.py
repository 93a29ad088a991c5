"""Bytes of a file as text, and a guess at how they are written where they are not as they were said to be."""

import codecs
import re

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8"),
)  # fmt: skip
MARKS = tuple(mark for mark, _ in BOMS)
SAMPLE = 2**16  # bytes that a guess looks at
KANA, HANGUL, CHINESE = "[\u3040-\u30ff]", "[\uac00-\ud7a3]", "[\u4e00-\u9fff]"
RUSSIAN, GREEK = "[оеаин]", "[αοιετη]"  # the most frequent letters
LANGUAGES = (  # encoding, letters, and at least which part of what is not ASCII these are; the first wins
    ("shift_jis", KANA, 0.2), ("cp932", KANA, 0.2), ("euc_jp", KANA, 0.2), ("cp1251", RUSSIAN, 0.25),
    ("koi8_r", RUSSIAN, 0.25), ("cp1253", GREEK, 0.25), ("euc_kr", HANGUL, 0.85), ("gb2312", CHINESE, 0.7),
    ("big5", CHINESE, 0.7), ("gb18030", CHINESE, 0.7),
)  # fmt: skip
BROADER = {"gb2312": "gb18030"}  # encodings that read the same, and more
RUN = re.compile(rb"[\x80-\xff]+")


def decoded(content: bytes, encoding: str, cut: bool) -> str:
    """``content`` as text, without a byte-order mark; a character that is ``cut`` off at its end is left out.

    Raises:
        UnicodeDecodeError: it is not written in ``encoding``, or only looks so: two bytes a character are read as one,
            one as two, or UTF-8 as an encoding in which each byte is a character.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(content, final=not cut)
    except UnicodeDecodeError:
        raise
    except UnicodeError as error:  # some encodings do not say where
        raise UnicodeDecodeError(encoding, content, 0, 1, str(error)) from error
    if _wide(content) and "\x00" in text:
        at = content.index(0)
    elif text and _is_wide(encoding):
        if b"\x00" in content or content.startswith(MARKS):
            return text.removeprefix("\ufeff")
        at = 0
    elif not content.isascii() and _is_single_byte(encoding) and _is_utf8(content, cut):
        at = next(i for i, byte in enumerate(content) if byte > 0x7F)
    else:
        return text.removeprefix("\ufeff")
    raise UnicodeDecodeError(encoding, content, at, at + 1, "it only looks so")


def guess(content: bytes) -> str | None:
    """The encoding that ``content`` looks like; None if it does not look like text."""
    sample = content[:SAMPLE]
    if marked := next((name for mark, name in BOMS if content.startswith(mark)), None) or _wide(content):
        return marked
    if _is_utf8(sample, cut=True):
        return "utf-8"
    odd = len(re.findall(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", sample))
    if odd > len(sample) / 100:
        return None
    runs = RUN.findall(sample)
    if runs and sum(map(len, runs)) >= 1.7 * len(runs):  # letters of Latin script stand alone among ASCII
        for name, letters, part in LANGUAGES:
            if _part_of(sample, name, letters) >= part:
                return BROADER.get(name, name)
    return "cp1252" if _part_of(sample, "cp1252", ".") >= 0 else "latin-1"


def _is_utf8(content: bytes, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(content, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _is_wide(encoding: str) -> bool:
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def _is_single_byte(encoding: str) -> bool:
    """True if most bytes beyond ASCII are a character each, whatever stands around them."""
    alone = b"\n".join(bytes([byte]) for byte in range(0x80, 0x100))
    return len(alone.decode(encoding, "ignore").replace("\n", "")) >= 80


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
