"""How the decoder's throughput grows with batch and length: runs a Go benchmark, writes a table and a plot.

    python scripts/bench/growth.py [--out build/bench]

Reads the lines of `go test ./internal/rlhf -run '^$' -bench Growth`, such as

    BenchmarkGrowth/batch=16/length=512-2   3   41 ns/op   1234 tok/s

and writes OUT/growth.svg: tokens per second over batch, both logarithmic, a line per length.
"""
import argparse
import math
import re
from pathlib import Path

from environment import Missing, execute

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ("go", "test", "./internal/rlhf", "-run", "^$", "-bench", "Growth", "-timeout", "60m")
LINE = re.compile(r"^BenchmarkGrowth/batch=(\d+)/length=(\d+)(?:-\d+)?\s.*?([0-9.eE+]+) tok/s", re.MULTILINE)

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 110, 40, 50  # margins
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#6a4c93", "#30353b", "#00798c", "#8d6a9f")


def measure(out):
    """Runs the benchmark, writes OUT/growth.svg and returns the lines of a Markdown section."""
    points = parse(execute(COMMAND, cwd=ROOT))
    if not points:
        raise RuntimeError(f"{' '.join(COMMAND)}: printed no line `BenchmarkGrowth/batch=B/length=T ... tok/s`")
    (out / "growth.svg").write_text(plot(points))
    return [*table(points), "", "![tokens per second over batch](growth.svg)"]


def parse(text):
    """{(batch, length): tokens per second}; of a point measured more than once, the best."""
    points = {}
    for batch, length, rate in LINE.findall(text):
        key = int(batch), int(length)
        points[key] = max(points.get(key, 0.0), float(rate))
    return points


def axes(points):
    """The batches and the lengths, sorted."""
    return sorted({b for b, _ in points}), sorted({t for _, t in points})


def table(points):
    """Lines of Markdown: a row per batch, a column per length."""
    batches, lengths = axes(points)
    heads = ("tokens/s, batch", *(f"length {t}" for t in lengths))
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for b in batches:
        cells = (f"{points[b, t]:.0f}" if (b, t) in points else "" for t in lengths)
        lines.append(f"| {b} | " + " | ".join(cells) + " |")
    return lines


def plot(points):
    """The text of an SVG."""
    batches, lengths = axes(points)
    rates = [r for r in points.values() if r > 0]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    high = max(high, low + 1)
    first, last = math.log2(batches[0]), max(math.log2(batches[-1]), math.log2(batches[0]) + 1)

    def x(batch):
        return LEFT + (math.log2(batch) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(rate):
        return HEIGHT - BOTTOM - (math.log10(rate) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
             f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             label(LEFT, 22, "Decoding, tokens per second over batch", "start")]
    for exponent in range(low, high + 1):
        for step in range(1, 10 if exponent < high else 2):
            rate, shade = step * 10.0 ** exponent, "#999" if step == 1 else "#e6e6e6"
            parts.append(line(LEFT, y(rate), WIDTH - RIGHT, y(rate), shade))
        parts.append(label(LEFT - 8, y(10.0 ** exponent) + 4, f"{10.0 ** exponent:g}", "end"))
    for b in batches:
        parts.append(line(x(b), TOP, x(b), HEIGHT - BOTTOM, "#e6e6e6"))
        parts.append(label(x(b), HEIGHT - BOTTOM + 18, str(b), "middle"))
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "batch", "middle"))
    for i, t in enumerate(lengths):
        colour = COLOURS[i % len(COLOURS)]
        dots = [(x(b), y(points[b, t])) for b in batches if points.get((b, t), 0) > 0]
        path = " ".join(f"{a:.1f},{c:.1f}" for a, c in dots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{c:.1f}" r="3" fill="{colour}"/>' for a, c in dots]
        at = TOP + 18 * i + 10
        parts += [f'<rect x="{WIDTH - RIGHT + 12}" y="{at - 5}" width="14" height="4" fill="{colour}"/>',
                  label(WIDTH - RIGHT + 32, at + 2, f"length {t}", "start")]
    return "\n".join([*parts, "</svg>"]) + "\n"


def line(x1, y1, x2, y2, colour):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def label(x, y, text, anchor):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        print("\n".join(measure(options.out)))
    except (Missing, RuntimeError) as problem:
        raise SystemExit(f"growth.py: {problem}")


if __name__ == "__main__":
    main()
