"""Holds the Falcon goldens against a forward pass in plain NumPy float64 that shares no code with transformers.

    python scripts/golden/falcon_check.py

Gradients are checked by five-point differences of the recomputed losses along one random direction per parameter. Exits
non-zero on a disagreement.
"""
import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from falcon_numpy import Checks, Model, alibi, part

ROOT = Path(__file__).resolve().parents[2]
VALUE_TOLERANCE = 1e-11     # float64 sums of at most a few hundred terms, in another order
GRADIENT_TOLERANCE = 1e-8   # step^4 of the differences, and rounding divided by the step of 1e-4
STORED_TOLERANCE = 1e-7     # gradients that are stored as float32, which rounds by 6e-8


class Golden(Model):
    """A model with the sequences of its golden."""

    def __init__(self, directory):
        super().__init__(directory, load_file(directory / "golden.safetensors"))

    def sequences(self):
        ids, offsets = self.golden["ids"], self.golden["offsets"]
        return [ids[a:b] for a, b in zip(offsets, offsets[1:])]

    def all_values(self):
        return np.concatenate([self.values(s) for s in self.sequences()])

    def next_tokens(self):
        return tuple(np.concatenate(column) for column in zip(*(self.log_probs(s) for s in self.sequences())))

    def losses(self):
        """Each scalar loss of the golden, under the prefix of its gradient."""
        g = self.golden
        if "values" in g:
            return {"weighted_gradient": g["weight_values"] @ self.all_values()}
        logp, entropy = self.next_tokens()
        return {"gradient": -logp.mean(),
                "weighted_gradient": g["weight_logp"] @ logp + g["weight_entropy"] @ entropy}


def check_values(m, check):
    g = m.golden
    if "values" in g:
        check.close("values", "values", m.all_values(), g["values"], VALUE_TOLERANCE)
        check.close("values", "scores", [m.values(s)[-1] for s in m.sequences()], g["scores"], VALUE_TOLERANCE)
        return
    logp, entropy = m.next_tokens()
    check.close("values", "logp", logp, g["logp"], VALUE_TOLERANCE)
    check.close("values", "entropy", entropy, g["entropy"], VALUE_TOLERANCE)
    check.close("values", "loss", -logp.mean(), g["loss"][0], VALUE_TOLERANCE)
    sequences = m.sequences()
    rows = [m.logits(sequences[s])[p] for s, p in g["logits_index"]]
    check.close("values", "logits", rows, g["logits_rows"], VALUE_TOLERANCE)
    states = m.states(sequences[2])
    del states[-2]  # transformers lists the last block only after the final norm
    check.close("values", "hidden_states", states, g["hidden_states"], VALUE_TOLERANCE)
    ends = g["greedy_prompt_offsets"]
    for i, expected in enumerate(g["greedy_ids"]):
        ids = g["greedy_prompt_ids"][ends[i]:ends[i + 1]]
        for _ in expected:
            ids = np.append(ids, m.logits(ids)[-1].argmax())
        check.close("values", f"greedy {i}", ids[-len(expected):], expected, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/falcon/testdata/golden")
    failed = 0
    for directory in sorted(p.parent for p in parser.parse_args().out.glob("*/golden.safetensors")):
        m, check = Golden(directory), Checks(directory.name)
        check_values(m, check)
        for kind in m.losses():
            check.gradient(kind, m.losses, m, part(m.golden, kind),
                           STORED_TOLERANCE if kind == "gradient" else GRADIENT_TOLERANCE)
        if m.c["alibi"]:
            table = m.golden["alibi_bias"]
            check.close("values", "alibi_bias", alibi(m.heads, table.shape[1]), table, 0)
        failed += check.report()
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
