"""Encodes the same documents with alfred's tokenizer and the official library, in alternating runs, on one thread each.

    python scripts/bench/encoding.py --alfred bin/alfred [--rounds N] [--out build/bench]

The documents are prompts and responses of two public datasets, the tokenizer is Falcon's; both lie in ../shared/data, and
without it there is nothing to measure. A round is one run of the Go benchmark

    go test ./internal/tokenizer -run '^$' -bench Documents -documents "$PWD/build/bench/documents.jsonl"

and one of encoding_peer.py. Before that, the ids of both are compared. Writes every run to OUT/encoding.jsonl.
"""
import argparse
import gzip
import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path

import environment
import report
from environment import Missing, execute

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT.parent / "shared/data"
TOKENIZER = DATA / "falcon/tokenizer.json"
DATASETS = {  # files of JSON lines and the fields with text
    "oasst1/messages-flat.jsonl.gz": ("text",),
    "dolly-15k/dolly_hhrlhf_train_small.jsonl.gz": ("prompt", "response"),
}
SHORTEST, LONGEST = 200, 8000  # bytes of a document

LABELS = {  # as report.LABELS
    "first": ("encoding, first pass, MB/s", True),
    "first_tokens": ("encoding, first pass, thousand tokens/s", True),
    "again": ("encoding again, MB/s", True),
    "again_tokens": ("encoding again, thousand tokens/s", True),
    "decode": ("decoding, MB/s", True),
    "decode_tokens": ("decoding, thousand tokens/s", True),
}
PASSES = ("first", "again", "decode")
LINE = re.compile(r"^BenchmarkDocuments/(\w+?)(?:-\d+)?\s+\d+\s+([0-9.eE+]+) ns/op", re.MULTILINE)
# The peer's threads are off; Go's collector shares the one thread with the encoder.
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "GOMAXPROCS": "1"}
LISTED = 10  # documents whose ids differ


def measure(alfred, rounds, out):
    """Lines of a Markdown section; without the data, one that says so."""
    absent = [path for path in (TOKENIZER, *(DATA / name for name in DATASETS)) if not path.is_file()]
    if absent:
        print(f"encoding: skipped, no {absent[0]}", file=sys.stderr, flush=True)
        return [f"Skipped: no {absent[0]}. The comparison needs Falcon's tokenizer and the datasets in ../shared/data."]
    environment.require("tokenizers", "pip install -r scripts/golden/requirements.txt, or run `make bench-peers`")
    documents, test = out / "documents.jsonl", out.resolve() / "tokenizer.test"
    texts = read_documents()
    documents.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    execute(["go", "test", "-c", "-o", test, "./internal/tokenizer"], cwd=ROOT)

    peer_seconds(documents, out / "peer_ids.jsonl")  # also warms the machine up
    ours, theirs = alfred_ids(alfred, documents), read_ids(out / "peer_ids.jsonl")
    size, tokens = sum(len(text.encode()) for text in texts), sum(map(len, ours))
    results = {"alfred": [], "tokenizers": []}
    with open(out / "encoding.jsonl", "w") as log:
        for number in range(1, rounds + 1):
            for name, seconds in (("alfred", alfred_seconds(test, documents)),
                                  ("tokenizers", peer_seconds(documents, out / "peer_ids.jsonl"))):
                results[name].append(figures(seconds, size, tokens))
                print(json.dumps({"round": number, "who": name, "seconds": seconds}), file=log, flush=True)
                print(f"encoding round {number} of {rounds}: {name} {results[name][-1]['first']:.4g} MB/s",
                      file=sys.stderr, flush=True)

    version = importlib.metadata.version("tokenizers")
    return [f"{len(texts)} prompts and responses of {SHORTEST} to {LONGEST} bytes from oasst1 and dolly-15k, "
            f"{size / 1e6:.3g} MB, {tokens} tokens of Falcon's tokenizer, on one thread each: alfred one document at a time, "
            f"tokenizers {version} (Rust) by the fastest of its encode, encode_batch and encode_batch_fast in each run. "
            "No word is in a cache at the first pass.",
            "", *compare(ours, theirs), "",
            *report.table("tokenizers", results["alfred"], results["tokenizers"], LABELS)]


def read_documents():
    """The texts of the datasets that are neither very short nor very long."""
    texts = []
    for name, fields in DATASETS.items():
        with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
            texts += [row[field] for row in map(json.loads, lines) for field in fields]
    return [text for text in texts if SHORTEST <= len(text.encode()) <= LONGEST]


def read_ids(path):
    return [json.loads(line)["ids"] for line in path.read_text().splitlines()]


def alfred_ids(alfred, documents):
    with open(documents) as lines:
        out = execute([alfred.resolve(), "tokenize", "--tokenizer", TOKENIZER], stdin=lines)
    return [json.loads(line)["ids"] for line in out.splitlines()]


def alfred_seconds(test, documents):
    """Seconds of each pass, from the Go benchmark. It finds its files from the directory of the package."""
    out = execute([test, "-test.run", "^$", "-test.bench", "^BenchmarkDocuments$", "-test.benchtime", "0.5s",
                   "-documents", documents.resolve()], cwd=ROOT / "internal/tokenizer", env=os.environ | ONE_THREAD)
    seconds = {name: float(nanoseconds) / 1e9 for name, nanoseconds in LINE.findall(out)}
    if set(seconds) != set(PASSES):
        raise RuntimeError(f"BenchmarkDocuments printed no times of {', '.join(PASSES)}: {out.strip()[-1500:]}")
    return seconds


def peer_seconds(documents, ids):
    """Seconds of each pass, from encoding_peer.py, which writes the file ids."""
    out = execute([sys.executable, HERE / "encoding_peer.py", "--tokenizer", TOKENIZER, "--documents", documents,
                   "--ids", ids], env=os.environ | ONE_THREAD)
    return json.loads(out.splitlines()[-1])


def figures(seconds, size, tokens):
    """The figures of a run: megabytes and thousands of tokens per second of each pass."""
    rates = {name: size / 1e6 / seconds[name] for name in PASSES}
    return rates | {f"{name}_tokens": tokens / 1e3 / seconds[name] for name in PASSES}


def compare(ours, theirs):
    """Lines that say whether the ids are equal, and where not."""
    if len(ours) != len(theirs):
        raise RuntimeError(f"alfred encoded {len(ours)} documents, tokenizers {len(theirs)}")
    differing = [row for row, (a, b) in enumerate(zip(ours, theirs), 1) if a != b]
    if not differing:
        return [f"The ids are the same in all {len(ours)} documents."]
    lines = [f"**The ids differ in {len(differing)} of {len(ours)} documents** (lines of documents.jsonl):", ""]
    for row in differing[:LISTED]:
        a, b = ours[row - 1], theirs[row - 1]
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        lines.append(f"- {row}, from token {at}: alfred {a[at:at + 5]}, tokenizers {b[at:at + 5]}")
    return lines if len(differing) <= LISTED else [*lines, f"- and {len(differing) - LISTED} more"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alfred", type=Path, required=True, help="the binary")
    parser.add_argument("--rounds", type=environment.at_least_one, default=3, help="runs of each contestant")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        print("\n".join(measure(options.alfred, options.rounds, options.out)))
    except (Missing, RuntimeError) as problem:
        raise SystemExit(f"encoding.py: {problem}")


if __name__ == "__main__":
    main()
