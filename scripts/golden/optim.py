"""Writes the optimizer goldens in float64: torch's AdamW and global-norm clipping, and learning-rate schedules.

    python scripts/golden/optim.py

A second AdamW written out below and torch's own schedulers confirm the numbers before they are stored.
"""
import argparse
import math
from pathlib import Path

import torch

from falcon_model import ROOT, set_up_torch, write

COMMAND = "python scripts/golden/optim.py"
SEED = 31
STEPS = 20
SHAPES = {"matrix": (5, 7), "vector": (11,), "scalar": (1,)}
DECAY = {"matrix": 0.1, "vector": 0.0, "scalar": 0.0}  # norms and biases are not decayed
BETAS, EPS, MAX_NORM = (0.9, 0.95), 1e-8, 1.0

CARD = dict(learning_rate=1.85e-6, warmup_steps=10, decay="cosine", decay_steps=100, final_learning_rate=1.85e-7)
SCHEDULES = {
    "cosine": CARD,
    "linear": dict(learning_rate=3e-4, warmup_steps=5, decay="linear", decay_steps=25, final_learning_rate=3e-5),
    "constant": dict(learning_rate=1e-4, warmup_steps=7, decay="constant", decay_steps=20, final_learning_rate=1e-4),
    "no_warmup": dict(learning_rate=1e-3, warmup_steps=0, decay="cosine", decay_steps=16, final_learning_rate=0.0),
    "warmup_only": dict(learning_rate=1e-3, warmup_steps=8, decay="linear", decay_steps=8, final_learning_rate=1e-4),
}
LENGTH = 120


def rate(s, learning_rate, warmup_steps, decay, decay_steps, final_learning_rate):
    """Learning rate of step s = 0, 1, ...: linear warm-up, decay until decay_steps, then flat."""
    if s < warmup_steps:
        return learning_rate * (s + 1) / warmup_steps
    if s >= decay_steps:
        return final_learning_rate
    done = (s - warmup_steps) / (decay_steps - warmup_steps)
    span = learning_rate - final_learning_rate
    return {"cosine": final_learning_rate + span / 2 * (1 + math.cos(math.pi * done)),
            "linear": learning_rate - span * done,
            "constant": learning_rate}[decay]


def check_rates():
    """The points that the card implies, and the decay part against torch's schedulers."""
    points = {0: 1.85e-7, 9: 1.85e-6, 10: 1.85e-6, 55: 1.0175e-6, 99: 1.8551e-7, 100: 1.85e-7, 199: 1.85e-7}
    for s, expected in points.items():
        assert abs(rate(s, **CARD) / expected - 1) < 5e-5, (s, rate(s, **CARD))
    for c in SCHEDULES.values():
        peak, last, steps = c["learning_rate"], c["final_learning_rate"], c["decay_steps"] - c["warmup_steps"]
        if steps == 0 or c["decay"] == "constant":
            continue
        adam = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=peak)
        if c["decay"] == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=last)
        else:
            scheduler = torch.optim.lr_scheduler.LinearLR(adam, 1.0, last / peak, steps)
        for s in range(c["warmup_steps"], c["decay_steps"] + 1):
            assert math.isclose(rate(s, **c), adam.param_groups[0]["lr"], rel_tol=1e-9, abs_tol=1e-12 * peak), (c, s)
            adam.step()
            scheduler.step()


def draw_gradients(draw):
    """Ordinary noise, steps far below or above the clipping norm, one all zero, and tiny and huge single elements."""
    scale = [1.0, 0.05, 1e-3, 30.0, 1e-9] + [0.3] * (STEPS - 5)
    out = [{k: s * torch.randn(n, generator=draw, dtype=torch.float64) for k, n in SHAPES.items()} for s in scale]
    for g in out[9].values():
        g.zero_()
    out[11]["matrix"][2, 3], out[13]["vector"][4] = 1e-12, 1e4
    for g in out:
        g["vector"][7] = 0.0  # never gets a gradient: must not move
    return out


def by_hand(start, grads, rates):
    """The same steps from the formulas: scale by min(1, max / (norm + 1e-6)), decay, then Adam."""
    p = {k: v.clone() for k, v in start.items()}
    m, v = ({k: torch.zeros_like(x) for k, x in p.items()} for _ in range(2))
    for t, (g, lr) in enumerate(zip(grads, rates), 1):
        norm = math.sqrt(sum((x * x).sum().item() for x in g.values()))
        for k in p:
            x = g[k] * min(1.0, MAX_NORM / (norm + 1e-6))
            m[k] = BETAS[0] * m[k] + (1 - BETAS[0]) * x
            v[k] = BETAS[1] * v[k] + (1 - BETAS[1]) * x * x
            p[k] = p[k] * (1 - lr * DECAY[k])
            p[k] = p[k] - lr * (m[k] / (1 - BETAS[0] ** t)) / ((v[k] / (1 - BETAS[1] ** t)).sqrt() + EPS)
    return p


def adamw_golden(out):
    draw = torch.Generator().manual_seed(SEED)
    start = {k: torch.randn(n, generator=draw, dtype=torch.float64) for k, n in SHAPES.items()}
    grads = draw_gradients(draw)
    schedule = dict(learning_rate=1e-2, warmup_steps=4, decay="cosine", decay_steps=16, final_learning_rate=1e-3)
    rates = [rate(s, **schedule) for s in range(STEPS)]
    params = {k: v.clone().requires_grad_() for k, v in start.items()}
    adam = torch.optim.AdamW([{"params": [p], "weight_decay": DECAY[k]} for k, p in params.items()],
                             lr=rates[0], betas=BETAS, eps=EPS)
    norms, after = [], {k: [] for k in SHAPES}
    for g, lr in zip(grads, rates):
        for k, p in params.items():
            p.grad = g[k].clone()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), MAX_NORM))
        for group in adam.param_groups:
            group["lr"] = lr
        adam.step()
        for k, p in params.items():
            after[k].append(p.detach().clone())
    for k, expected in by_hand(start, grads, rates).items():
        assert torch.allclose(after[k][-1], expected, rtol=1e-13, atol=1e-14), k
    assert after["vector"][-1][7] == start["vector"][7]
    assert min(norms) < MAX_NORM < max(norms)

    tensors = {"learning_rate": torch.tensor(rates, dtype=torch.float64), "grad_norm": torch.stack(norms)}
    for k, p in params.items():
        state = adam.state[p]
        tensors |= {f"start/{k}": start[k], f"gradients/{k}": torch.stack([g[k] for g in grads]),
                    f"after/{k}": torch.stack(after[k]), f"exp_avg/{k}": state["exp_avg"],
                    f"exp_avg_sq/{k}": state["exp_avg_sq"]}
    write(out / "adamw.safetensors", tensors, SEED, command=COMMAND, betas=str(list(BETAS)), eps=str(EPS),
          max_grad_norm=str(MAX_NORM), weight_decay=str(DECAY["matrix"]), weight_decay_on="matrix")


def schedule_golden(out):
    check_rates()
    tensors = {k: torch.tensor([rate(s, **c) for s in range(LENGTH)], dtype=torch.float64)
               for k, c in SCHEDULES.items()}
    described = {k: ", ".join(f"{n}={x}" for n, x in c.items()) for k, c in SCHEDULES.items()}
    write(out / "schedule.safetensors", tensors, SEED, command=COMMAND, **described)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/optim/testdata/golden")
    out = parser.parse_args().out
    set_up_torch()
    adamw_golden(out)
    schedule_golden(out)


if __name__ == "__main__":
    main()
