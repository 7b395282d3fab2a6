"""Texts for tokenizer.py: a training corpus, random texts of many kinds, and edge cases."""

NOUNS = "model token prompt reward policy value river garden kettle window teacher engine letter market bridge lamp".split()
VERBS = "learns writes samples breaks carries answers measures follows keeps returns shortens paints reads".split()
ADJECTIVES = "small quiet exact frozen ragged green early careful broken tall honest plain".split()
OTHER = [
    "Die Straße führt über den Fluß nach Süden.",
    "L'été dernier, la rivière était très basse.",
    "El niño pequeño soñaba con montañas.",
    "Старый мост ведёт через реку.",
    "河は静かに流れている。",
    "Το ποτάμι είναι ήσυχο.",
    "강물이 조용히 흐른다.",
    "नदी शांत बहती है।",
]
NAMES = "x y count total_len readNext is_ok Buffer queue _tmp MAX_SIZE parseLine".split()
ENDINGS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "''s", "' s", "’s", "'", "'sd", "'l"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\v", "\f", "\x1c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f", "\u3000", "\u200b", "\ufeff"]
MARKS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["¡", "«", "·", "—", "…", "「", "。", "、", "؟", "।", "\u2e44", "\u2e52", "\u166d", "\U000111c9", "\u0a76", "§", "€", "™"]
NUMBERS = ["½", "²", "³", "¹", "¼", "¾", "٣", "४", "Ⅷ", "①", "〇", "一", "𝟗", "\U0001fbf3", "\U0001e5f1", "\U00010d40", "\U00011de0", "\U00016ff4"]
EMOJI = ["🙂", "👩\u200d🔬", "🇫🇷", "❤\ufe0f", "👍🏽", "🦙"]
SPECIALS = ["<|endoftext|>", ">>TITLE<<", ">>ANSWER<<", "<a>", "<b>", "<c>", " <s>", "the", "café", "漢", "<|endoftext", "<a><b>", "b>s"]

# Where random characters come from: (first, last), Latin and combining marks, scripts, planes, private use.
BLOCKS = [
    (0x20, 0x7E), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF),
    (0xE00, 0x0FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF), (0x2E00, 0x2E7F), (0x3000, 0x30FF), (0x3400, 0x9FFF),
    (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFFFF), (0x10000, 0x107FF), (0x10D40, 0x10D90), (0x11000, 0x11FFF),
    (0x16D40, 0x16D80), (0x1D400, 0x1D7FF), (0x1E5D0, 0x1E5FF), (0x1F300, 0x1FAFF), (0x20000, 0x2EE60), (0x10FF00, 0x10FFFF),
]


def sentence(rng):
    words = ["the", rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(VERBS), rng.choice(["a", "its", "every", "no"]), rng.choice(NOUNS)]
    text = " ".join(words)
    if rng.random() < 0.3:
        text += rng.choice([", and it", "; she", ", but we"]) + rng.choice(ENDINGS[:7]) + " " + rng.choice(ADJECTIVES)
    return text[0].upper() + text[1:] + rng.choice([".", "!", "?", "..."])


def number(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 14)))
    if kind == 1:
        return f"{rng.uniform(-1e6, 1e6):.{rng.randint(0, 6)}f}"
    if kind == 2:
        return f"{rng.randint(1900, 2100)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23)}:{rng.randint(0, 59):02}"
    if kind == 3:
        return f"${rng.randint(1, 999)},{rng.randint(0, 999):03}.{rng.randint(0, 99):02} (+{rng.randint(1, 99)}%)"
    return rng.choice("0123456789") + rng.choice(NUMBERS) + rng.choice(["", "7", "a", rng.choice(NUMBERS)])


def code(rng):
    pad = rng.choice(["", "    ", "        ", "\t", "\t\t"])
    a, b = rng.choice(NAMES), rng.choice(NAMES)
    return pad + rng.choice([
        f"for {a} := range {b} {{\n{pad}\tsum += {a}[{rng.randint(0, 300)}]\n{pad}}}",
        f"if ({a} != NULL && {b}->next == 0x{rng.randint(0, 2**32):08x}) return -1;",
        f"def {a}(self, {b}=None):\n{pad}    return {{'{b}': [{number(rng)}]}}",
        f"<p class=\"{a}\">{b}&nbsp;{rng.randint(0, 9)}</p><!-- {a} -->",
        f"SELECT {a}, COUNT(*) FROM {b} WHERE {a} >= {number(rng)};",
    ])


def character(rng):
    first, last = rng.choice(BLOCKS)
    point = rng.randint(first, last)
    return " " if 0xD800 <= point < 0xE000 else chr(point)


def mixture(rng):
    """Pieces of all kinds glued together with or without space."""
    pools = [NOUNS, ENDINGS, SPACES, MARKS, NUMBERS, EMOJI, SPECIALS, OTHER]
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.randrange(11)
        if kind < 8:
            parts.append(rng.choice(pools[kind]))
        elif kind == 8:
            parts.append(number(rng))
        else:
            parts.append(character(rng))
        parts.append(rng.choice(["", "", " ", "  "]))
    return "".join(parts)


def texts(rng, n):
    for _ in range(n):
        kind = rng.randrange(8)
        if kind < 3:
            yield "".join(character(rng) for _ in range(rng.randint(1, 24)))
        elif kind < 6:
            yield mixture(rng)
        elif kind == 6:
            yield " ".join([sentence(rng), number(rng), sentence(rng)])
        else:
            yield code(rng)
    yield from edges("")


def edges(name):
    yield from ["", " ", "  ", "\n", "a", "'", "''", "'s", " 's", "x's", "½", " ½", "a½b", "4 ½ months", "\x00", "\x0b\x1d", "é"]
    yield from ["a" * 70, "a" * 333, " " * 65, " " * 200 + "x", "!" * 150, "1" * 100, "ab" * 100, "é" * 90, "漢" * 80, "\n" * 67 + " a"]
    yield from ["aaab aab. a.b, ab.\n\nx-z-y x", "1234 the abc abcd été the"]
    yield from ["<a>", "x  <a>  x", "x <b>  <a> y", " \t<b> \n <s>", "<c>", "x <c> x", "x<c>", "<c>x", "<c>-", "é<c>", "<a><b>s", "<a><b><b>s"]
    yield from ["the", "then the", "bathe the-the", "the_", "the\u0301", "the\u200d", "\u3000<a>\u2028", "<b>\x85\xa0x", "café cafés", "漢字 漢 a漢"]
    yield from ["<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<<|endoftext|>>", "User:\n\nHuman: >>TITLE<<"]


def boundaries(runs):
    """Characters on both sides of every change of class, each after a letter, a digit and a mark."""
    points = sorted({p for first, _ in runs for p in (first - 1, first) if p >= 0 and not 0xD800 <= p < 0xE000})
    for i in range(0, len(points), 16):
        yield "\n".join(f"a{c}1{c}!{c}" for c in map(chr, points[i : i + 16]))


def word_boundaries(runs):
    """The same for the single_word token "the"."""
    points = sorted({p for first, _ in runs for p in (first - 1, first) if p >= 0 and not 0xD800 <= p < 0xE000})
    for i in range(0, len(points), 64):
        yield "-".join(f"{chr(p)}the" for p in points[i : i + 64])


def corpus(rng):
    for _ in range(3000):
        yield sentence(rng)
    for _ in range(300):
        yield code(rng)
        yield number(rng)
    for _ in range(20):
        yield from OTHER


def pattern(rng, depth=0):
    """A random regular expression of what Oniguruma and RE2 read alike (see pattern.go)."""
    atoms = list("abcé1 ½Ġ") + [".", r"\.", r"\n", r"\-", r"\{", "[a-c]", "[^a-c]", "[é½1]", "[^ -~]", r"[\]\-b]", r"[0-9a\-]", r"[\n ]", "<", "&&", "-", "/", "'"]
    parts = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(8)
        if kind == 0 and depth < 3:
            parts.append(rng.choice(["(", "(?:"]) + pattern(rng, depth + 1) + ")")
        elif kind == 1 and depth < 3:
            parts.append("(?:" + pattern(rng, depth + 1) + "|" + pattern(rng, depth + 1) + ")")
        else:
            parts.append(rng.choice(atoms))
        if rng.random() < 0.35:
            parts.append(rng.choice(["*", "+", "?", "{2}", "{1,}", "{1,3}", "{0,2}"]))
    if depth == 0 and rng.random() < 0.3:
        return "".join(parts) + "|" + pattern(rng, 1)
    return "".join(parts)


def pattern_text(rng):
    return "".join(rng.choice(list("aabbccé11½ \n.-<&/'{]Ġ漢")) for _ in range(rng.randint(1, 30)))
