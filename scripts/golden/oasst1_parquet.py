"""Writes the oasst1 message fixtures of internal/dataset/source: the same messages as parquet and as JSONL.

    pip install -r scripts/golden/requirements.txt
    python scripts/golden/oasst1_parquet.py [--out DIR]

messages.jsonl        one message per line, labels as a map (the form of the JSONL release)
messages.parquet      all columns of the parquet release: nested detoxify, emojis and labels; snappy; two row groups
minimal.parquet       the columns that are read and no other; large strings, floating ranks with NaN for "none"; zstd
no-text.parquet       lacks a column that is required
run-length.parquet    data page version 2.0, in which pyarrow encodes booleans by run length
lz4.parquet           compressed with LZ4
empty-group.parquet   three row groups, of which the middle one is empty
no-rows.parquet       no rows at all

Texts are made up for this purpose.
"""
import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).resolve().parents[2] / "internal/dataset/source/testdata"
READY = "ready_for_export"
NEEDED = ["message_id", "parent_id", "text", "role", "lang", "rank", "review_result", "deleted", "synthetic", "tree_state"]


def message(tree, name, parent, role, text, lang="en", rank=None, state=READY, review=True, deleted=False, synthetic=False):
    label = {"quality": {"value": 0.75, "count": 3}, "humor": {"value": 0.25, "count": 2}}
    return {
        "message_id": f"{tree}-{name}", "parent_id": f"{tree}-{parent}" if parent else None, "user_id": f"user-{name}",
        "created_date": "2023-03-04T05:06:07+00:00", "text": text, "role": role, "lang": lang, "review_count": 3,
        "review_result": review, "deleted": deleted, "rank": rank, "synthetic": synthetic,
        "model_name": "toy" if synthetic else None,
        "detoxify": {"toxicity": 0.001, "severe_toxicity": 0.0, "obscene": 0.0, "identity_attack": 0.0, "insult": 0.0,
                     "threat": 0.0, "sexual_explicit": 0.0} if role == "prompter" else None,
        "message_tree_id": f"{tree}-root", "tree_state": state, "emojis": {"+1": 2, "_skip_reply": 1}, "labels": label,
    }


def messages():
    kite, pain, far, wait = "kite", "pain", "far", "wait"
    return [
        message(kite, "root", None, "prompter", "How do I keep a kite in the air?"),
        message(kite, "a", "root", "assistant", "Let the line out when it pulls,\r\nand take it in when it sinks.", rank=0),
        message(kite, "b", "root", "assistant", "Run.", rank=2),
        message(kite, "c", "root", "assistant", "Wait for wind \U0001f32c and hold the line short.", rank=1),
        message(kite, "a1", "a", "prompter", "And when the wind drops?"),
        message(kite, "a2", "a1", "assistant", "Walk backwards until it climbs again."),
        message(kite, "b1", "b", "prompter", "Why?"),
        message(kite, "b2", "b1", "assistant", "A message that its author took back.", deleted=True),
        message(pain, "root", None, "prompter", "Pourquoi le pain gonfle-t-il ?", lang="fr"),
        message(pain, "a", "root", "assistant", "La levure mange le sucre et souffle des bulles dans la pâte.", lang="fr", rank=0),
        message(pain, "b", "root", "assistant", "Parce qu'il est content.", lang="fr", rank=1, synthetic=True),
        message(far, "root", None, "prompter", "為什麼天空是藍色的？", lang="zh"),
        message(far, "a", "root", "assistant", "因為空氣散射藍光。", lang="zh", rank=0),
        message(wait, "root", None, "prompter", "Name three rivers.", state="prompt_lottery_waiting"),
    ]


def columns(rows):
    strings = pa.list_(pa.string())
    label = pa.struct([("name", strings), ("value", pa.list_(pa.float64())), ("count", pa.list_(pa.int32()))])
    emoji = pa.struct([("name", strings), ("count", pa.list_(pa.int32()))])
    schema = pa.schema([
        ("message_id", pa.string()), ("parent_id", pa.string()), ("user_id", pa.string()), ("created_date", pa.string()),
        ("text", pa.string()), ("role", pa.string()), ("lang", pa.string()), ("review_count", pa.int32()),
        ("review_result", pa.bool_()), ("deleted", pa.bool_()), ("rank", pa.int32()), ("synthetic", pa.bool_()),
        ("model_name", pa.string()),
        ("detoxify", pa.struct([(k, pa.float64()) for k in ("toxicity", "severe_toxicity", "obscene", "identity_attack",
                                                           "insult", "threat", "sexual_explicit")])),
        ("message_tree_id", pa.string()), ("tree_state", pa.string()), ("emojis", emoji), ("labels", label),
    ])
    nested = [dict(row,
                   emojis={"name": list(row["emojis"]), "count": list(row["emojis"].values())},
                   labels={"name": list(row["labels"]), "value": [v["value"] for v in row["labels"].values()],
                           "count": [v["count"] for v in row["labels"].values()]}) for row in rows]
    return pa.Table.from_pylist(nested, schema=schema)


def minimal(table):
    table = table.select(NEEDED)
    ranks = pa.array([float("nan") if r is None else float(r) for r in table["rank"].to_pylist()], pa.float64())
    table = table.set_column(table.column_names.index("rank"), "rank", ranks)
    text = table["text"].cast(pa.large_string())
    return table.set_column(table.column_names.index("text"), "text", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = messages()
    with open(out / "messages.jsonl", "w", encoding="utf-8", newline="\n") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    table = columns(rows)
    pq.write_table(table, out / "messages.parquet", compression="snappy", row_group_size=9)
    pq.write_table(minimal(table), out / "minimal.parquet", compression="zstd")
    pq.write_table(minimal(table).drop_columns(["text"]), out / "no-text.parquet")
    pq.write_table(minimal(table), out / "run-length.parquet", data_page_version="2.0")
    pq.write_table(minimal(table), out / "lz4.parquet", compression="lz4")
    with pq.ParquetWriter(out / "empty-group.parquet", minimal(table).schema) as writer:
        for part in (minimal(table)[:5], minimal(table)[:0], minimal(table)[5:]):
            writer.write_table(part)
    pq.write_table(minimal(table)[:0], out / "no-rows.parquet")


if __name__ == "__main__":
    main()
