"""Writes numbers of lm-eval's own metrics, for internal/eval/metric to be held against.

    pip install lm-eval==0.4.13 scikit-learn scipy
    python scripts/golden/eval_metrics.py    # internal/eval/metric/testdata/golden.json

Python 3.11: from 3.12 on its sum() rounds otherwise.
"""
import argparse
import contextlib
import io
import json
import math
import os
import random
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["DISABLE_MULTIPROC"] = "1"

import numpy as np
from lm_eval.api import metrics
from lm_eval.api.registry import get_aggregation
from lm_eval.tasks.super_glue.cb.aggregate import cb_multi_fi
from lm_eval.utils import softmax
from scipy.stats import binomtest

SEED = 20240614
ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 2000


def aggregation(name):
    return cb_multi_fi if name == "cb_multi_fi" else get_aggregation(name)


def cases(rng):
    """Name of the aggregation, items of one or two numbers each, iterations."""
    def normal(n, mean=0.0, deviation=1.0):
        return [rng.gauss(mean, deviation) for _ in range(n)]

    def pairs(n, golds, predicted):
        return [(rng.choice(golds), rng.choice(predicted)) for _ in range(n)]

    yield "mean", [1, 0, 1, 1], ITERATIONS
    yield "mean", [rng.randrange(2) for _ in range(101)], ITERATIONS
    yield "mean", normal(57), ITERATIONS
    yield "mean", [3.5], ITERATIONS
    yield "mean", [1e300, -1e300, 1], 10
    yield "mean", [math.inf, 1.0], 10
    for n in (1, 2, 3, 20, 21):
        yield "median", normal(n), ITERATIONS
    yield "median", [1, 2, 2, 2, 3, 1, 5, 0], 500
    yield "median", [math.inf, 1.0, -math.inf], 10
    yield "nanmean", [x if i % 3 else math.nan for i, x in enumerate(normal(40))], ITERATIONS
    yield "nanmean", [math.nan, math.nan], 10
    yield "nanmean", normal(300), 50
    yield "nanmean", [math.nan, math.nan, 1.0], 100
    yield "perplexity", normal(61, -3.0, 2.0), ITERATIONS
    yield "perplexity", normal(10, -1.0, 0.5), 3500  # three chunks
    yield "perplexity", [-1000.0, -2.0], 100  # exp overflows in a replicate
    yield "perplexity", [-1000.0, -1000.0], 100
    yield "perplexity", [-math.inf, -2.0], 5
    for name in ("weighted_perplexity", "bits_per_byte"):
        yield name, [(x, rng.randint(1, 90)) for x in normal(23, -40.0, 12.0)], ITERATIONS
        yield name, [(-1.0, 0), (-2.0, 0)], 10
    yield "f1", pairs(64, [0, 1], [0, 1]), ITERATIONS
    yield "f1", pairs(20, [0, 0, 0, 1], [0, 0, 0, 1]), ITERATIONS
    yield "f1", pairs(20, [1, 2], [1, 2]), 100
    yield "f1", pairs(20, [-1, 1], [-1, 1]), 100
    for golds, predicted in ([0, 2], [0, 2]), ([0, 1], [0, 2]), ([0], [0]), ([1], [1]), ([3], [3]), ([0], [1]), ([1], [0]), ([0, 1, 2], [0, 1]), ([2, 3], [2]):
        yield "f1", pairs(12, golds, predicted), 100
    yield "f1", [(0.5, 1), (1, 1)], 10
    yield "f1", [(math.nan, 1), (1, 1)], 10
    yield "matthews_corrcoef", pairs(64, [0, 1], [0, 1, 1]), ITERATIONS
    yield "matthews_corrcoef", [(g, g if rng.random() < 0.6 else rng.randrange(3)) for g in (rng.randrange(3) for _ in range(50))], ITERATIONS
    yield "matthews_corrcoef", pairs(9, [0], [0, 1]), 100
    yield "matthews_corrcoef", pairs(9, [5], [5]), 100
    yield "matthews_corrcoef", pairs(15, [-4, 7], [7, 100]), 300
    yield "matthews_corrcoef", [(0.5, 1), (1, 1)], 10
    yield "matthews_corrcoef", [(0, 1), (1, 0)] * 3, 1500  # one chunk of 1000
    yield "cb_multi_fi", pairs(30, [0, 1, 2], [0, 1, 2]), ITERATIONS
    yield "cb_multi_fi", pairs(30, [0, 1], [0, 1]), ITERATIONS
    yield "bypass", [1, 2], ITERATIONS


def attempt(function):
    """A number, "N/A", or None where it fails."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            value = function()
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if value == "N/A" else number(value)


def number(x):
    return str(float(x)) if not math.isfinite(x) else float(x)


def stderr(function, items, iterations):
    """As lm_eval/evaluator_utils.py."""
    estimate = metrics.stderr_for_metric(function, iterations)
    return estimate(items) if estimate and len(items) > 1 else "N/A"


def groups(rng):
    for sizes in [10, 20, 400], [1, 1, 5], [7], [1, 1], [30, 30, 30, 30]:
        values = [rng.random() for _ in sizes]
        stderrs = [rng.random() / 10 for _ in sizes]
        yield dict(values=values, stderrs=stderrs, sizes=sizes,
                   weighted=attempt(lambda: metrics.aggregate_subtask_metrics(values, sizes, True)),
                   unweighted=attempt(lambda: metrics.aggregate_subtask_metrics(values, sizes, False)),
                   pooled=attempt(lambda: metrics.pooled_sample_stderr(stderrs, sizes)),
                   unpooled=attempt(lambda: metrics.unweighted_mean_stderr(stderrs)))


def matches():
    cases = [
        ({}, ["a", "b", "c"], ["a", "b", "d"]), ({}, ["The A."], ["the a"]), ({"ignore_case": True}, ["The A"], ["the a"]),
        ({"ignore_case": True, "ignore_punctuation": True}, ["The, A!", "x-y"], ["the a", "xy"]), ({"ignore_numbers": True}, ["a1b2", "٣"], ["ab", ""]),
        ({"regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]}, ["so\n#### $1,200."], ["1200"]), ({"regexes_to_ignore": ["\\.$"]}, ["5.\n"], ["5\n"]),
        ({"regexes_to_ignore": ["\\b(?:The |the |An |A |The |a |an )"], "ignore_case": True}, ["The Beyoncé", "éthe x"], ["beyoncé", "éx"]),
        ({"ignore_case": True}, ["İ"], ["i"]), ({"ignore_case": True}, ["İ"], ["i\u0307"]), ({"ignore_case": True}, ["İ", "abc"], ["i", "abc"]),
        ({"ignore_case": True}, ["İ", "abc"], ["i\u0307", "abc"]), ({}, ["a\x00"], ["a"]), ({}, ["\x00a"], ["a"]), ({}, ["a "], ["a"]), ({}, [""], [""]),
        ({"ignore_punctuation": True}, ["¡a!", "“b”"], ["a", "b"]), ({"ignore_case": True}, ["ΟΔΟΣ"], ["οδος"]), ({"regexes_to_ignore": ["\\d+\\s"]}, ["٣ a", "4\x1cb"], ["a", "b"]),
        ({"ignore_case": True, "ignore_punctuation": True}, ["A\x00.", "b"], ["a", "B"]),
    ]
    for options, predictions, references in cases:
        yield dict(options=options, predictions=predictions, references=references,
                   score=float(metrics.exact_match_hf_evaluate(predictions=predictions, references=references, **options)["exact_match"]))


def brier(rng):
    """lm-eval's Brier score of softmaxed log-likelihoods, as ConfigurableTask.process_results makes its items."""
    for choices in 2, 4:
        lls = [[rng.gauss(-20, 3) for _ in range(choices)] for _ in range(25)]
        golds = [rng.randrange(choices) for _ in lls]
        probabilities = [softmax(np.array(ll)) for ll in lls]
        yield dict(log_likelihoods=lls, golds=golds, probabilities=[p.tolist() for p in probabilities],
                   brier=float(metrics.brier_score(list(zip(golds, probabilities)))))


def wilson():
    for wins, losses, confidence in (8, 2, 0.95), (0, 5, 0.95), (5, 0, 0.9), (520, 480, 0.99), (1, 1, 0.5):
        interval = binomtest(wins, wins + losses).proportion_ci(confidence, method="wilson")
        yield dict(wins=wins, losses=losses, confidence=confidence, low=float(interval.low), high=float(interval.high))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/eval/metric/testdata")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of scores that are not defined
    rng = random.Random(SEED)
    aggregations = []
    for name, items, iterations in cases(rng):
        function = aggregation(name)
        aggregations.append(dict(name=name, items=[[number(x) for x in (item if isinstance(item, tuple) else (item,))] for item in items], iterations=iterations,
                                 value=attempt(lambda: function(items)), stderr=attempt(lambda: stderr(function, items, iterations))))
    golden = dict(command="python scripts/golden/eval_metrics.py", seed=SEED, python=sys.version.split()[0],
                  **{name: version(name) for name in ("lm_eval", "numpy", "scikit-learn", "scipy")},
                  aggregations=aggregations, groups=list(groups(rng)), matches=list(matches()), brier=list(brier(rng)), wilson=list(wilson()))
    args.out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False, separators=(',', ':'))}" for key, value in golden.items())
    (args.out / "golden.json").write_text("{\n" + lines + "\n}\n")


main()
