"""Writes what Python makes of values, literals, texts, patterns and random numbers, for internal/eval/python to be held against.

    python scripts/golden/python_values.py    # internal/eval/python/testdata/golden.json

Needs Python 3.11 and nothing else: other versions know another Unicode and word their literals otherwise.
"""
import argparse
import ast
import json
import math
import random
import re
import struct
import sys
import unicodedata
import warnings
from pathlib import Path

SEED = 20240613
ROOT = Path(__file__).resolve().parents[2]
CHARACTERS = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]

LITERALS = [
    "[]", "()", "{}", "[1, 2,]", "(1)", "(1,)", "1, 2", "1,", "((1, 2), [3, (4,)])", "{'a': 1, \"b\": [True, None], 'a': 2}", "{'a':1,}",
    "\n1", "\n 1", " \n1", " \t1", "\x0c1", "\n\x0c1", "1\x0c", "# c\n1", "1 # c", "1#", "[1, # c\n2]", "1\n\n  \n", "1\n  # c", "1\n  2", "1\n,2",
    "(1\n)", "\r1", "\r\n1\r\n", "[1,\r2]", "\\\n1", "1\\\n,2", "1 \\\n", "1 \\", "1\n\\\n", "[\\ \n]", "[1, \\\n 2]", "\\\n 1", "\n \\\n1",
    "'a' 'b'", "'a'\n'b'", "('a'\n'b')", "'a''''b'''", "['a' 'b', 'c'\n'd']", "'a' b", "{'a' 'b': 1}", "'a'.b", "'a' 1",
    "r'\\''", "r'a\\\nb'", "R'\\n'", "U'\\n'", "u'a'", "ur'a'", "f'a'", "'a' b'b'", "u r'a'", "x'a'",
    "'''a\r\nb\rc'''", "'a\rb'", "'a\\\r\nb'", "''", "''''''", "'''a'b''c'''", '"""a\\""""', "''' '''''", "'a", "'''a''", "'\\", "r'\\", "'\x01'",
    "'\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"'", "'\\777\\18\\0012\\8\\q\\é'", "'\\x41\\u00e9\\U0001f600'", "'\\x4'", "'\\xg1'", "'\\u12'", "'\\U00110000'",
    "'\\x+1'", "'\\u+123'", "'é' \"日\"", "é", "１", "'a\x00'", "1\x00", "\ufeff1", "\xa01",
    "00", "01", "0_0", "0_7", "0777", "1_0", "1_", "1__0", "5_", "_5", "0x_f", "0xDEADbeef", "0x", "0xG", "0x1_", "0o17", "0o8", "0b11", "0b2", "0B_1",
    "1.", "1.e5", ".5", "._5", ".e5", "1_0.5_0e1_0", "1._5", "1e_5", "1e5_", "1_e5", "01e5", "09.5", "0_1.5", "00.5", "1e", "1e+", "1e-5", "1E+5", "1e999",
    "-1e999", "1e-999", "1.5.2", "1..2", "1_000.", "0.", "0e1", "1if", "1abc", "1.real", "0x1.8p1", "0x1e+5", "1e5f", "1-1", "1+1",
    "-1", "+1", "- 1", "-(1)", "-((1))", "-(-1)", "--1", "-True", "-'a'", "-[1]", "+1.5", "-0", "-0.0", "-\n1", "(-\n1)", "not 1", "~1",
    "9223372036854775807", "-9223372036854775808", "None", "True", "False", "Nonee", "true", "x", "[True,False]", "None None",
    "", "  ", "#", "{,}", "[,]", "(,)", "[1,,]", "[1 2]", "(1, 2", "1]", "[1}", "{'a'}:", "{'a' 1}", "{'a': }", "{**{}}", "*[1]", "(1)(2)", "[1][0]", "1;",
    "1 2", "[x for x in y]", "lambda: 1", "[" * 200 + "]" * 200, "[" * 201 + "]" * 201, "(" * 200 + "1" + ")" * 200, "(" * 201 + "1" + ")" * 201,
]

# What Python reads and alfred says no to.
REFUSED_LITERALS = ["b'a'", "rb'a'", "...", "1j", "1+2j", "set()", "{1}", "{1: 2}", "{(1, 2): 3}", "{None: 1}", "'\\N{DIGIT ONE}'", "'\\ud83d'",
                    "'\\ud83d\\ude00'", "9223372036854775808", "-9223372036854775809", "+9223372036854775808", "0x8000000000000000", "{'a', 'b'}"]

JSON_TEXTS = [
    "null", "true", " [ ] ", "{}", "[1, -0, -0.0, 1.5e3, 1E-7, 1e16, 123456789012345680, 1e999, -1e999, 9223372036854775807, -9223372036854775808]",
    '{"b": {"a": [], "c": {}}, "a": [[1], [2, [3]]], "b": 1}', '"\\u00e9\\ud83d\\ude00\\n\\/\\"\\\\\\b\\f\\r\\t\\u0000\\u001f"', '"\ufffd \x7f \u2028 é 日 😀"',
    '["a", {"k\\ney": null, "": false}]', "\t[\r\n1 , 2 ]\n", "0", "-0", "0.1", "1e5", "1E+05", '{"a":1,"a":2,"b":3}', "[0.1, 1e-4, 1e-5, 1e22, 5e-324]",
    "", " ", "[", "]", "[1,]", "[1 2]", "[,1]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{1:2}", "'a'", '"a', '"\\x41"', '"\\u12"', '"\\u12g4"', '"\\ud83"',
    '"a\nb"', '"\x00"', "01", "-", "+1", "1.", ".5", "1e", "1e+", "1.e5", "0x1", "truee", "nul", "nan", "1 2", "[1]]", "--1", "\ufeff1", "\x00", "1\x00", "\x0c1", "\xa01",
    '"\\u+123"', '"\\',
]
# What Python reads and alfred says no to.
REFUSED_JSON = ["NaN", "[Infinity]", "-Infinity", '"\\ud83d"', '"\\ude00\\ud83d"', '"\\ud83dx"', '"\\ud83d\\u0041"', "9223372036854775808", "-9223372036854775809"]

PATTERNS = [
    (",", "1,234,567"), ("\\$", "$5 and $6"), ("(?s).*#### ", "so\nit is #### 5 #### 6"), ("\\.$", "5."), ("\\.$", "5.\n"), ("\\.$", "5.\n\n"), ("$", "a\n"), ("^", "a\nb"),
    ("(?m)^", "a\nb\n"), ("(?m)$", "a\nb\n"), ("\\b(?:The |the |An |A |The |a |an )", "The end of a day, éthe An Aéa a "), ("\\bthe\\b", "the éthe theé the1 the"),
    ("\\B", "ab é"), ("\\B", ""), ("\\b", "日本 x_1"), ("\\d+", "12 ٣٤ ² ½ x9"), ("\\D+", "12 ٣٤ ²x9"), ("\\w+", "naïve_1 日本 ½ ² -x \u0301"), ("\\W+", "naïve_1 日本 - x"),
    ("\\s+", "a \x1c\x85\u2003b\u200bc"), ("\\S+", "a \x1cb"), ("[\\s,]+", "a ,\x1cb"), ("[^\\s\\d]+", "ab 12 é\x1f"), ("[\\w-]+", "a-b é"), ("x*", "abxd"), ("x*?", "xx"), ("a|ab", "ab abab"),
    ("(a)|(b)", "ab"), ("(?:a|b)*c?", "abacab"), ("((?:a|b)+)c", "aabc"), ("(-?[$0-9.,]{2,})|(-?[0-9]+)", "it is $1,234.50 or 7 or -12"), ("#### (\\-?[0-9\\.\\,]+)", "x #### -1,200. y"),
    ("(?i)the", "The THE tHe"), ("[]a]+", "a]b"), ("[^]a]+", "a]bc"), ("[[a]+", "[a]"), ("[a\\]]+", "a]b"), ("\\x41", "ABA"), ("[\\b]", "a\x08b"), ("é?", "éé"), (".", "é\n日"),
    ("(?P<n>a)(b)?", "aab"), ("\\A.", "ab"), ("a{2,3}", "aaaaa"), ("a{2}?", "aaa"), ("(?:)", "ab"), ("", "é"), ("a??b", "aab"), ("[a-c-]+", "a-d"), ("\\.+|\\*", "..*"),
]
# What Python compiles and alfred says no to.
REFUSED_PATTERNS = ["(?<=a)b", "(?<!a)b", "a(?=b)", "a(?!b)", "(a)\\1", "(?P<n>a)(?P=n)", "a{,3}", "(?x)a b", "(?a)\\w", "a++", "(?>a)b", "a\\Z", "a{1001}"]
WRONG_PATTERNS = ["(", "[", "a**", "(?P<n", "*", "\\pL", "\\Qa\\E", "(?<n>a)", "\\x{41}", "(?U)a", "a\\z", "\\C"]


def ranges(belongs):
    """[first, last] of each run of characters that belong."""
    out = []
    for c in CHARACTERS:
        if belongs(c):
            if out and out[-1][1] == ord(c) - 1:
                out[-1][1] = ord(c)
            else:
                out.append([ord(c), ord(c)])
    return out


def mapping(function):
    """The characters that change, each followed by what it becomes."""
    return " ".join(c + " " + function(c) for c in CHARACTERS if function(c) != c)


def floats(rng):
    special = [0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 9999999999999998.0, 12345678901234567.0, 1e-4, 9.999e-5, 1e-5, 5e-324, 1.7976931348623157e308, 1e22, 1e23,
               123456789.125, 2 ** 53, 1 / 3, math.inf, -math.inf, math.nan]
    drawn = [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(100)]
    drawn += [rng.uniform(-1, 1) * 10.0 ** rng.randint(-8, 20) for _ in range(100)]
    return [[struct.pack(">d", f).hex(), repr(f), json.dumps(f)] for f in map(float, special + drawn)]


def texts(rng):
    marks = list("'\"\\\n\r\t\b\f\x00\x1b\x1f\x7f\x1c\x85\xa0 aZ09.:_-") + list("éßΣσςİıǆŉﬁ\u0301\u0345\u0370\u2019\u00ad\u200b\u2028\u3000\ufeff\ue000日😀²٣½Ⅷ①")
    marks += ["\U000e0001", "\U0001fae8", "\U00010400", "ΑΣ", "ΑΣ.", "ʰ"]
    fixed = ["", "'", '"', "'\"", "it's", 'say "hi"', "0", "007", "²", "٣", "1.5", "-1", "①②", "½", " a  b\tc ", "\x1c", "ὈΔΥΣΣΕΎΣ ΣΑΣ Σ", "ΑΣ:Α", "ΑΣ" + "\u0301" * 40 + "α",
             "straße", "ŉa", "ǆA", "İI", "hELLO wORLD", "ﬁN", "ᾳΑ", "".join(map(chr, range(128)))]
    drawn = ["".join(rng.choice(marks) for _ in range(rng.randint(1, 8))) for _ in range(100)]
    return [dict(text=t, repr=repr(t), json=json.dumps(t, ensure_ascii=False), lower=t.lower(), upper=t.upper(), capitalize=t.capitalize(), lstrip=t.lstrip(), rstrip=t.rstrip(), isdigit=t.isdigit(), len=len(t), split=re.split(r"\s+", t)) for t in fixed + drawn]


def literal(text):
    try:
        return repr(ast.literal_eval(text))
    except (SyntaxError, ValueError, MemoryError):
        return None


def json_value(text):
    try:
        v = json.loads(text)
    except ValueError:
        return None
    return dict(repr=repr(v), line=json.dumps(v, ensure_ascii=False), indented=json.dumps(v, ensure_ascii=False, indent=2))


def spans(pattern, text):
    """Offsets in UTF-8 of matches and groups."""
    def byte(i):
        return -1 if i < 0 else len(text[:i].encode())
    return [[byte(i) for group in range(m.re.groups + 1) for i in m.span(group)] for m in re.finditer(pattern, text)]


def draws():
    out = []
    for seed in [0, 1, 42, 1234, -5, 2 ** 32, 2 ** 40 + 7, 2 ** 63 - 1, -2 ** 63, *range(100, 103)]:
        r = random.Random(seed)
        entry = dict(seed=str(seed), random=[r.random().hex() for _ in range(4)], bits=[[k, str(r.getrandbits(k))] for k in (1, 5, 31, 32, 33, 53, 64)],
                     below=[[n, r.randrange(n)] for n in (1, 2, 3, 1000, 2 ** 31, 2 ** 40)])
        entry["samples"] = [[n, k, r.sample(range(n), k)] for n, k in
                            [(0, 0), (1, 1), (21, 3), (22, 3), (22, 5), (85, 6), (86, 6), (30, 21), (86, 21), (277, 22), (278, 22), (1000, 5), (5, 5), (10042, 25)]]
        entry["choices"] = r.choices(range(37), k=12)
        shuffled = list(range(20))
        r.shuffle(shuffled)
        entry["shuffled"] = shuffled
        for _ in range(700):  # past the end of one state
            r.random()
        entry["later"] = r.random().hex()
        out.append(entry)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/eval/python/testdata")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of escapes that are none, and of sets in patterns
    rng = random.Random(SEED)
    wrong = [p for p in WRONG_PATTERNS if not refused(p)]
    assert wrong == [] or sys.version_info[:2] != (3, 11), wrong
    golden = dict(
        command="python scripts/golden/python_values.py", seed=SEED, python=sys.version.split()[0], unicode=unicodedata.unidata_version,
        printable=ranges(str.isprintable), digit=ranges(str.isdigit), space=ranges(str.isspace), word=ranges(lambda c: bool(re.match(r"\w", c))),
        lower=mapping(str.lower), upper=mapping(str.upper), capitalize=mapping(str.capitalize),
        # Whether a sigma before it does not end a word, and whether one after it and a letter does.
        cased=ranges(lambda c: ("a\u03a3" + c).lower()[1] == "\u03c3"), cased_or_ignorable=ranges(lambda c: ("a" + c + "\u03a3").lower()[-1] == "\u03c2"),
        floats=floats(rng), texts=texts(rng),
        literals=[[t, literal(t)] for t in LITERALS], refused_literals=REFUSED_LITERALS,
        json=[[t, json_value(t)] for t in JSON_TEXTS], refused_json=REFUSED_JSON,
        patterns=[dict(pattern=p, text=t, spans=spans(p, t), removed=re.sub(p, "", t)) for p, t in PATTERNS],
        refused_patterns=REFUSED_PATTERNS + WRONG_PATTERNS,
        random=draws(),
    )
    assert ranges(str.isspace) == ranges(lambda c: bool(re.match(r"\s", c)))
    for text in REFUSED_LITERALS:
        ast.literal_eval(text)
    for text in REFUSED_JSON:
        json.loads(text)
    for pattern in REFUSED_PATTERNS:
        re.compile(pattern)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}" for key, value in golden.items())
    (args.out / "golden.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def refused(pattern):
    try:
        re.compile(pattern)
    except re.error:
        return True
    return False


main()
