"""Data files as people have them, good, odd and broken: what each must give."""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

LONG = "x" * 200_000  # more than the csv module reads in a cell by itself
PAIR = ["the film", "a room"]
JAPANESE, RUSSIAN, KOREAN = "これはとてもよい映画でした", "это был очень хороший фильм", "영화가 정말 좋았습니다"
CHINESE, FRENCH = "这部电影非常好看，我喜欢", "le café est très bon"


@dataclass(frozen=True)
class Case:
    """A file, or several by name; what names them, how they are read, and the prompts or a part of the message."""

    name: str
    content: bytes | str | dict[str, bytes | str] | None
    gives: list[str] | str
    named: str | list[str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def lines(*prompts: Any) -> str:
    return "".join(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n" for prompt in prompts)


def table(*prompts: str, mark: str = ",") -> str:
    return "".join(f"{prompt}{mark}x\n" for prompt in ("prompt", *prompts)).replace("x\n", "topic\n", 1)


def reading(**settings: Any) -> dict[str, Any]:
    return {"settings": settings}


PLAIN, ROWS, RECORDS = lines(*PAIR), table(*PAIR), [{"prompt": each} for each in PAIR]
GOOD = [
    Case("plain.jsonl", PLAIN, PAIR),
    Case("no-last-newline.jsonl", PLAIN.rstrip(), PAIR),
    Case("blank-lines.jsonl", "\n" + PLAIN.replace("\n", "\n\n \n"), PAIR),
    Case("windows.jsonl", b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), PAIR),
    Case("CAPITALS.JSONL", PLAIN, PAIR),
    Case("escapes.jsonl", '{"prompt": "caf\\u00e9 \\ud83d\\ude00"}\n', ["café 😀"]),
    Case("columns-of-all-kinds.jsonl", '{"prompt": "a", "n": NaN, "l": [1, {}], "d": null, "b": true}\n', ["a"]),
    Case("columns-that-differ.jsonl", '{"prompt": "a", "x": 1}\n{"y": 2, "prompt": "b"}\n', ["a", "b"]),
    Case("name-twice.jsonl", '{"prompt": "a", "prompt": "b"}\n', ["b"]),
    Case("list-laid-out.jsonl", json.dumps(RECORDS, indent=1), PAIR),
    Case("list.json", json.dumps(RECORDS), PAIR),
    Case("list-laid-out.json", json.dumps(RECORDS, indent=2), PAIR),
    Case("lines.json", PLAIN, PAIR),
    Case("objects-laid-out.json", "\n".join(json.dumps(each, indent=2) for each in RECORDS), PAIR),
    Case("objects-in-a-row.json", "".join(map(json.dumps, RECORDS)), PAIR),
    Case("one-object.json", json.dumps(RECORDS[0]), PAIR[:1]),
    Case("plain.csv", ROWS, PAIR),
    Case("excel.csv", b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode(), PAIR),
    Case("old-mac.csv", ROWS.replace("\n", "\r"), PAIR),
    Case("semicolons.csv", table(*PAIR, mark=";"), PAIR),
    Case("semicolons-said.csv", "sep=;\r\n" + table(*PAIR, mark=";"), PAIR),
    Case("tabs.csv", table(*PAIR, mark="\t"), PAIR),
    Case("quoted.csv", 'prompt,topic\n"one, ""two""\nthree",x\n', ['one, "two"\nthree']),
    Case("large-cell.csv", table(*PAIR).replace("topic\na", f"{LONG}\na").replace(",x\n", f',"{LONG}"\n', 1), PAIR),
    Case("index-column.csv", ",prompt\n0,the film\n1,a room\n", PAIR),
    Case("spaces-in-header.csv", " prompt , topic\nthe film,x\na room,y\n", PAIR),
    Case("empty-rows-below.csv", ROWS + ",\n,\n", PAIR),
    Case("plain.tsv", table(*PAIR, mark="\t"), PAIR),
    Case("commas.tsv", "prompt\ttopic\nthe film, a room\tx\n", ["the film, a room"]),
    Case("marks-that-quote-nothing.tsv", 'prompt\tt\n"a" room\tx\n"the film\ty\n', ['"a" room', '"the film']),
    Case("quoted.tsv", 'prompt\tt\n"a ""b"""\tx\n"two\nlines"\ty\n', ['a "b"', "two\nlines"]),
    Case("one-column.tsv", 'prompt\n"two\nlines"\n', ["two\nlines"]),
    Case("old-mac.tsv", "prompt\ttopic\rthe film\tx\ra room\ty\r", PAIR),
    Case("plain.txt", "the film\na room\n", PAIR),
    Case("windows.txt", "the film\r\n\r\na room\r\n", PAIR),
    Case("line-separator.txt", "the\u2028film\x0ca\x85room\n", ["the\u2028film\x0ca\x85room"]),
    Case("plain.jsonl.gz", gzip.compress(PLAIN.encode()), PAIR),
    Case("plain.csv.gz", gzip.compress(ROWS.encode()), PAIR),
    Case("list.json.gz", gzip.compress(json.dumps(RECORDS).encode()), PAIR),
    Case("in-two-parts.txt.gz", gzip.compress(b"the film\n") + gzip.compress(b"a room\n"), PAIR),
    Case("gzip-without-its-ending.txt", gzip.compress(b"the film\na room\n"), PAIR),
]
READ_AS_SAID = [
    Case("utf-16.csv", table(FRENCH).encode("utf-16"), [FRENCH], **reading(encoding="utf-16")),
    Case("utf-16-without-mark.txt", FRENCH.encode("utf-16-le"), [FRENCH], **reading(encoding="utf-16-le")),
    Case("chinese-utf-16.txt", CHINESE.encode("utf-16"), [CHINESE], **reading(encoding="utf-16")),
    Case("latin.csv", table(FRENCH).encode("latin-1"), [FRENCH], **reading(encoding="latin-1")),
    Case("japanese.jsonl", lines(JAPANESE).encode("shift_jis"), [JAPANESE], **reading(encoding="shift_jis")),
    Case("chinese.tsv", table(CHINESE, mark="\t").encode("gbk"), [CHINESE], **reading(encoding="gb18030")),
    Case("ascii.txt", "the film", ["the film"], **reading(encoding="cp1252")),
    Case("question.csv", "question,prompt\na,b\n", ["a"], **reading(columns={"prompt": "question"})),
    Case("exchanged.jsonl", '{"prompt": "a", "q": "b"}', ["b"], **reading(columns={"prompt": "q", "q": "prompt"})),
    Case("freed.jsonl", '{"prompt": "a", "completions": "b"}', ["a"], **reading(columns={"draft": "completions"})),
    Case("pattern", {"a2.jsonl": lines("b"), "a10.txt": "c", "a1.csv": table("a")}, ["a", "c", "b"], "a*"),
    Case("list", {"b.txt": "b", "a.jsonl": lines("a")}, ["b", "a"], ["b.txt", "a.jsonl"]),
    Case("folders", {"x/p.txt": "a", "y/z/p.txt": "b"}, ["a", "b"], "**/p.txt"),
    Case("brackets", {"p[1].txt": "a", "p1.txt": "b"}, ["a"], "p[1].txt"),
    Case("columns-that-differ", {"a.jsonl": '{"q": "a"}', "b.jsonl": lines("b")}, ["a", "b"], "*.jsonl",
         {"columns": {"prompt": "q"}}),
]  # fmt: skip
ODD = [  # with room for four tokens, of which one is the start
    Case("long-row.jsonl", lines("the film is", "the film is very good", "food"), ["the film is", "food"]),
    Case("long-row-cut.jsonl", lines("the film is very good", "food"), ["is very good", "food"],
         **reading(too_long="cut")),
    Case("long-row-refused.txt", "food\nthe film is very good\n", "txt:2: 6 tokens, but the model has room for 4",
         **reading(too_long="refuse")),
    Case("all-long.txt", "the film is very good\n", "no prompt of "),
    Case("empty.jsonl", lines("", "food"), ["", "food"]),
    Case("repeated.txt", "food\nfilm\nfood\n", ["food", "film", "food"]),
]  # fmt: skip
BROKEN = [
    Case("nothing.jsonl", "", "is empty"),
    Case("nothing.json", "[]", "is empty"),
    Case("blank.txt", " \r\n\n", "is empty"),
    Case("header-alone.csv", "prompt,topic\n", "is empty"),
    Case("cut-off.jsonl.gz", gzip.compress(PLAIN.encode())[:-9], "its gzip data are damaged or cut off"),
    Case("damaged.txt.gz", gzip.compress(PLAIN.encode())[:12] + b"\xff" * 30, "its gzip data are damaged or cut off"),
    Case("plain.txt.gz", "the film", "is not compressed with gzip"),
    Case("excel.csv", table(FRENCH).encode("utf-16"), "is not UTF-8 (line 1, byte 0xff); it looks like utf-16\n"),
    Case("utf-16.txt", b"a\x00b\x00c\x00\n\x00", "it looks like utf-16-le\nto read it so: data.encoding=utf-16-le"),
    Case("latin.csv", table(*PAIR, FRENCH).encode("cp1252"), "(line 4, byte 0xe9); it looks like cp1252\n"),
    Case("japanese.csv", table(JAPANESE).encode("shift_jis"), "it looks like shift_jis\n"),
    Case("japanese.txt", JAPANESE.encode("euc_jp"), "it looks like euc_jp\n"),
    Case("russian.jsonl", lines(RUSSIAN).encode("cp1251"), "it looks like cp1251\n"),
    Case("korean.tsv", table(KOREAN, mark="\t").encode("euc_kr"), "it looks like euc_kr\n"),
    Case("chinese.txt", CHINESE.encode("gbk"), "it looks like gb18030\n"),
    Case("utf-8.txt", FRENCH, "is not CP1252 (line 1, byte 0xc3); it looks like utf-8\n", **reading(encoding="cp1252")),
    Case("utf-8-too.txt", "the film was", "it looks like utf-8\n", **reading(encoding="utf-16-le")),
    Case("picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "it does not look like text"),
    Case("spreadsheet.csv", b"PK\x03\x04" + bytes(30), "is a zip archive or a spreadsheet; save it as .csv"),
    Case("parquet.csv", b"PAR1" + bytes(30), "is parquet; let it end in .parquet"),
    Case("spreadsheet.xlsx", b"PK\x03\x04", "must end in .json, .jsonl, .csv"),
    Case("bad-line.jsonl", PLAIN + "{'prompt': 'c'}\n", "bad-line.jsonl:3: not valid JSON"),
    Case("text.jsonl", '"the film"\n', "text.jsonl:1: must be an object, got str"),
    Case("items.json", '["the film", 3]', "items.json:1: must be an object, got str; items.json:1: must be"),
    Case("no-comma.json", '[{"prompt": "a"}\n{"prompt": "b"}]', "no-comma.json:2: not valid JSON"),
    Case("cut-off.json", '[{"prompt": "a"},\n{"prompt": "b"}', "cut-off.json:2: the list does not end"),
    Case("cut-off-inside.json", '[{"prompt": "a"},\n{"pro', "cut-off-inside.json:2: not valid JSON"),
    Case("more-behind.json", '[{"prompt": "a"}]\n\n{}', "more-behind.json:3: more stands behind the end of the list"),
    Case("deep.json", "[" * 100_000, "nested too deeply"),
    Case(
        "columns.json",
        '{"prompt": ["a", "b"]}',
        "'prompt', turn 1 must be an object with 'role' and",
    ),
    Case("wrapped.json", '{"data": [{"prompt": "a"}]}', "no field 'prompt' (it has: data)"),
    Case("ragged.csv", ROWS + "a,b,c\n", "ragged.csv:4: does not have as many fields as the header"),
    Case("open-quote.csv", 'prompt,topic\n"a,b\nc,d\n', "not valid CSV"),
    Case("header-twice.csv", "prompt,prompt\na,b\n", "header-twice.csv:1: the header has the column 'prompt' twice"),
    Case("no-header.csv", "the film,x\na room,y\n", "no field 'prompt' (it has: the film, x)"),
    Case("number.jsonl", lines("a", 3), "number.jsonl:2: 'prompt' must be text, got int"),
    Case("null.jsonl", lines(None), "null.jsonl:1: 'prompt' must be text, got NoneType"),
    Case("half-a-pair.jsonl", '{"prompt": "\\ud800"}', "has half a surrogate pair"),
    Case("reference.jsonl", '{"prompt": "a", "reference": 3}', "'reference' must be text, got int"),
    Case("completions.jsonl", '{"prompt": "a", "completions": "b"}', "has a column 'completions': a reward function"),
    Case("renamed.csv", ROWS, "no column 'question' in ", **reading(columns={"prompt": "question"})),
    Case("folder", {"folder/a.jsonl": PLAIN}, "is a folder; name its files: data.prompts='", "folder"),
    Case("missing", None, "no such file", "missing.jsonl"),
    Case("no-match", None, "no file matches", "nothing*.jsonl"),
    Case("one-missing", {"a.jsonl": PLAIN}, "no such file", ["a.jsonl", "b.jsonl"]),
    Case("damaged.parquet", b"PAR1" + bytes(30) + b"PAR1", "damaged.parquet"),
]
