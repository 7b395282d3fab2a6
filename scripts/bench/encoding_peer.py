"""Encodes and decodes documents with the official tokenizers library, which is in Rust, on one thread.

    TOKENIZERS_PARALLELISM=false python scripts/bench/encoding_peer.py --tokenizer tokenizer.json
                                                                       --documents documents.jsonl --ids ids.jsonl

Each way that the library has to encode gets a new tokenizer, for a first pass over the documents and some more. Writes the
ids of each document to the file --ids. Prints a line of JSON with seconds per pass: "first" and "again" of the fastest
way, the name of which is "way", and "decode". The clock stops before the results become lists of Python's.
"""
import argparse
import json
import statistics
import time
from pathlib import Path

from tokenizers import Tokenizer

PASSES = 3  # after the first
WAYS = {
    "encode": lambda tokenizer, texts: [tokenizer.encode(text) for text in texts],
    "encode_batch": lambda tokenizer, texts: tokenizer.encode_batch(texts),
    "encode_batch_fast": lambda tokenizer, texts: tokenizer.encode_batch_fast(texts),  # without offsets
}


def load(path):
    """A new tokenizer, to which the text of a special token is a text like any other, as to alfred."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def timed(run, *arguments):
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = run(*arguments)
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--documents", type=Path, required=True, help='lines {"text": ...}')
    parser.add_argument("--ids", type=Path, required=True, help='gets lines {"ids": ...}')
    options = parser.parse_args()
    texts = [json.loads(line)["text"] for line in options.documents.read_text(encoding="utf-8").splitlines()]

    first, again, ids = {}, {}, {}
    for way, run in WAYS.items():
        tokenizer = load(options.tokenizer)
        first[way], encodings = timed(run, tokenizer, texts)
        ids[way] = [encoding.ids for encoding in encodings]
        again[way] = statistics.median(timed(run, tokenizer, texts)[0] for _ in range(PASSES))
    way = min(again, key=again.get)
    for other in WAYS:
        if ids[other] != ids[way]:
            raise SystemExit(f"encoding_peer.py: {other} and {way} give different ids")
    decode = statistics.median(timed(tokenizer.decode_batch, ids[way], False)[0] for _ in range(PASSES))

    options.ids.write_text("".join(json.dumps({"ids": row}) + "\n" for row in ids[way]))
    print(json.dumps({"first": min(first.values()), "again": again[way], "decode": decode, "way": way}))


if __name__ == "__main__":
    main()
