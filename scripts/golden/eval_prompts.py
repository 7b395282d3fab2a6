"""Golden file for internal/eval/task, made by the Language Model Evaluation Harness.

    python -m venv VENV && VENV/bin/pip install 'lm-eval==0.4.13' torch transformers
    make build && VENV/bin/python scripts/golden/eval_prompts.py --alfred bin/alfred --data ../shared/data/eval

Prepares the official files with alfred, loads the tasks that come with alfred into the harness as they are, builds their requests, and
writes internal/eval/task/testdata/prompts.json: for each task, number of examples and seed, a checksum over the first documents: their
hashes, prompts, continuations and targets. Tasks whose data are only in DATA/format-samples are made from there.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASKS = ROOT / "internal" / "eval" / "task" / "builtin"
OUT = ROOT / "internal" / "eval" / "task" / "testdata" / "prompts.json"
LIMIT = 40
SHOTS = [(0, 1234), (1, 0), (1, 1234), (5, 0), (5, 1234)]


def checksum(task, utils, shots, seed):
    """A checksum over what the harness asks, or None if the task has too few documents for so many examples."""
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(seed)
    try:
        task.build_all_requests(limit=LIMIT)
    except ValueError:
        return None
    total = hashlib.sha256()
    documents = {}
    for instance in task.instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    for instances in documents.values():
        instances.sort(key=lambda i: i.idx)
        document = instances[0].doc
        plain = json.dumps(document, indent=2, default=utils.handle_non_serializable, ensure_ascii=False)
        record = [utils.hash_string(plain), str(task.doc_to_target(document))] + [text for i in instances for text in i.args if isinstance(text, str)]
        total.update(json.dumps(record, ensure_ascii=False).encode())
    return {"shots": shots, "seed": seed, "documents": len(documents), "sha256": total.hexdigest()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alfred", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    from importlib.metadata import version

    from lm_eval import utils
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    golden = {}
    for part in ("", "format-samples"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([options.alfred.resolve(), "eval", "prepare", "--quiet", "--from", (options.data / part).resolve(), "--data", folder],
                           check=True, stdout=subprocess.DEVNULL)
            os.chdir(folder)
            for name in sorted(path.stem for path in TASKS.glob("*.yaml")):
                if name in golden:
                    continue
                try:
                    task = manager.load([name])["tasks"][name]
                except Exception as error:  # most often the data are not there
                    print(f"{part or '.'}: {name}: {type(error).__name__}: {str(error)[:80]}")
                    continue
                golden[name] = {"folder": part, "of": [c for c in (checksum(task, utils, *s) for s in SHOTS) if c]}
            os.chdir(ROOT)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(golden.items()))
    OUT.write_text('{"lm_eval": %s, "limit": %d, "tasks": {\n%s\n}}\n' % (json.dumps(version("lm_eval")), LIMIT, lines))
    print(f"{OUT}: {len(golden)} tasks, {sum(len(g['of']) for g in golden.values())} checksums")


if __name__ == "__main__":
    main()
