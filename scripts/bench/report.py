"""The report of bench.py: tables in Markdown."""
import datetime
import statistics

LABELS = {  # of figures, and whether more is better
    "iteration": ("PPO iteration, s", False),
    "rollout": ("rollout, s", False),
    "scoring": ("reward and reference, s", False),
    "value_update": ("values and their update, s", False),
    "policy_update": ("policy update, s", False),
    "rollout_tokens": ("rollout, tokens/s", True),
}

READING = """\
min / median / max over the rounds. "times as fast" is alfred against the peer, above 1 where alfred is faster: of the
two medians, and in brackets the smallest and the largest of the rounds, each of neighbouring runs. Where the brackets
hold 1, nothing is decided. A busy machine ("load before" near or above 1) makes all figures worthless."""


def write(options, about, results, curves, encoded):
    """Writes OUT/report.md and returns its text."""
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    lines = ["# alfred beside its peers", "", now, ""]
    lines += [f"- {name}: {text}" for name, text in about.items()]
    lines += [f"- {options.threads} threads each, {options.rounds} alternating rounds", "", READING]
    for (size, dtype), runs in results.items():
        ours = runs["alfred"]
        for name, theirs in runs.items():
            if name != "alfred":
                lines += ["", f"## {size}, {dtype}: {name}", "", *table(name, ours, theirs)]
    if curves:
        lines += ["", "## Decoding over batch and length", "", *curves]
    if encoded:
        lines += ["", "## Encoding text", "", *encoded]
    text = "\n".join(lines) + "\n"
    (options.out / "report.md").write_text(text)
    return text


def table(name, ours, theirs, labels=LABELS):
    """Lines of a table of two contestants; each is a list of the figures of a run, in the order of the rounds."""
    lines = [f"| | alfred | {name} | times as fast |", "|---|---|---|---|"]
    for figure, (label, more_is_better) in labels.items():
        if figure not in theirs[0]:
            continue
        a, b = [run[figure] for run in ours], [run[figure] for run in theirs]
        fast, slow = (a, b) if more_is_better else (b, a)
        whole = statistics.median(fast) / statistics.median(slow)
        each = [x / y for x, y in zip(fast, slow)]
        lines.append(f"| {label} | {spread(a)} | {spread(b)} | **{whole:.2f}** ({min(each):.2f} to {max(each):.2f}) |")
    return lines


def spread(values):
    """Minimum, median and maximum, four digits."""
    return " / ".join(number(x) for x in (min(values), statistics.median(values), max(values)))


def number(x):
    return f"{x:.0f}" if x >= 1000 else f"{x:.4g}"
