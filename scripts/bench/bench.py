"""Times PPO iterations of alfred beside PyTorch on the same work on this CPU, in alternating runs.

    python scripts/bench/bench.py --alfred bin/alfred [--sizes SIZE...] [--dtypes DTYPE...] [--rounds N]
                                  [--torch tuned|stock...] [--trl] [--growth] [--encoding] [--threads N]
                                  [--out build/bench]

A round is one run of alfred, then one of each peer, for each size and type; a run's figure is the median of its
iterations but the first. Peers: peer.py, hand-written PyTorch, with the libraries tuned (environment.py) or as
installed, and with --trl TRL's PPOTrainer as installed. --growth adds the decoder's throughput over batch and length
(growth.py), --encoding the tokenizer beside the official library in Rust (encoding.py).

Writes OUT/report.md, which it also prints, and every run to OUT/runs.jsonl. Leave the machine alone while it measures:
a busy core costs the contestants unequal shares, as threads that work in step wait for the slowest.
"""
import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

import encoding
import environment
import growth
import models
import report
from environment import Missing, at_least_one, execute

HERE = Path(__file__).resolve().parent
# Parts of an iteration: sums of the phases in alfred's timing.jsonl. Next to nothing is in score_value where the
# forward pass of the value update serves for the old values too, as it does here and in peer.py.
PARTS = {
    "rollout": ("rollout",),
    "scoring": ("score", "score_reference"),
    "value_update": ("score_value", "value_update"),
    "policy_update": ("policy_update",),
}


def run_alfred(options, folder, size, dtype):
    """Seconds of each iteration and its parts."""
    directory = models.run_directory(folder, dtype)
    shutil.rmtree(directory, ignore_errors=True)
    execute([options.alfred.resolve(), "train", "--config", folder / f"{dtype}.yaml", "--quiet"])
    rows = [json.loads(line) for line in (directory / "timing.jsonl").read_text().splitlines()]
    expected = models.SIZES[size].iterations
    if len(rows) != expected:
        raise RuntimeError(f"{directory / 'timing.jsonl'}: {len(rows)} iterations where {expected} were asked for")
    seconds = {name: [sum(row["phases"].get(p, 0.0) for p in phases) for row in rows] for name, phases in PARTS.items()}
    shutil.rmtree(directory)
    return {"iteration": [row["seconds"] for row in rows], **seconds}


def run_peer(script, variables):
    """A function like run_alfred for a script in this directory, in an environment."""
    def run(options, folder, size, dtype):
        out = execute([sys.executable, HERE / script, "--models", folder, "--size", size, "--dtype", dtype,
                       "--threads", options.threads], env=variables)
        return json.loads(out.splitlines()[-1])
    return run


def figures(seconds, size):
    """The figures of a run: medians of seconds without the first iteration, and sampled tokens per second."""
    middle = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    s = models.SIZES[size]
    return middle | {"rollout_tokens": s.rollouts * s.response / middle["rollout"]}


def measure(options, contestants):
    """Figures of all runs: {(size, dtype): {contestant: [figures of round 1, ...]}}."""
    results = {}
    with open(options.out / "runs.jsonl", "w") as log:
        for size in options.sizes:
            folder = models.write(size, options.out / "models", options.threads)
            for dtype in options.dtypes:
                runs = results[size, dtype] = {name: [] for name in contestants}
                for number in range(1, options.rounds + 1):
                    for name, run in contestants.items():
                        seconds = run(options, folder, size, dtype)
                        runs[name].append(figures(seconds, size))
                        row = {"size": size, "dtype": dtype, "round": number, "who": name, "seconds": seconds}
                        print(json.dumps(row), file=log, flush=True)
                        print(f"{size} {dtype} round {number} of {options.rounds}: {name} "
                              f"{runs[name][-1]['iteration']:.4g} s per iteration", file=sys.stderr, flush=True)
    return results


def choose(options):
    """The contestants in their order: names and functions that run them."""
    contestants = {"alfred": run_alfred}
    environments = {"tuned": environment.tuned, "stock": lambda _: environment.stock()}
    for name in options.torch:
        contestants[f"PyTorch {name}"] = run_peer("peer.py", environments[name](options.out))
    if options.trl:
        environment.require("trl", "leave --trl away, or pip install trl==1.12.0 datasets accelerate")
        contestants["TRL stock"] = run_peer("trl_peer.py", environment.stock())
    return contestants


def check(options):
    """Raises Missing if something that every benchmark needs is not there."""
    if not options.alfred.is_file():
        raise Missing(f"no alfred at {options.alfred}: run `make build`, or name another binary with --alfred")
    for package in ("torch", "transformers", "safetensors"):
        environment.require(package, "pip install -r scripts/golden/requirements.txt, or run `make bench-peers`")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alfred", type=Path, required=True, help="the binary")
    parser.add_argument("--sizes", nargs="+", choices=models.SIZES, default=["tiny", "small"])
    parser.add_argument("--dtypes", nargs="+", choices=models.DTYPES, default=list(models.DTYPES))
    parser.add_argument("--rounds", type=at_least_one, default=3, help="runs of each contestant")
    parser.add_argument("--torch", nargs="+", choices=("tuned", "stock"), default=["tuned"], help="how peer.py runs")
    parser.add_argument("--trl", action="store_true", help="also TRL's PPOTrainer")
    parser.add_argument("--growth", action="store_true", help="also the decoder over batch and length")
    parser.add_argument("--encoding", action="store_true", help="also the tokenizer beside the official library")
    parser.add_argument("--threads", type=at_least_one, default=environment.processors(), help="of each contestant")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "build/bench")
    options = parser.parse_args()
    try:
        check(options)
        options.out.mkdir(parents=True, exist_ok=True)
        about = environment.describe(options.alfred)
        results = measure(options, choose(options))
        curves = growth.measure(options.out) if options.growth else None
        encoded = encoding.measure(options.alfred, options.rounds, options.out) if options.encoding else None
    except (Missing, RuntimeError) as problem:
        raise SystemExit(f"bench.py: {problem}")
    text = report.write(options, about, results, curves, encoded)
    print(text)


if __name__ == "__main__":
    main()
