"""Writes the Falcon goldens: each form as a tiny Hugging Face directory, and what transformers computes in float64.

    python scripts/golden/falcon.py

README.md lists every tensor. falcon_check.py holds the result against a forward pass in plain NumPy.
"""
import argparse
import math
from pathlib import Path

import torch
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

from falcon_model import (ROOT, build, gradients, load, log_probs, logits, pack, rotary_tables, set_up_torch, values,
                          watch_rotary, write)

COMMAND = "python scripts/golden/falcon.py"
LENGTHS = (1, 2, 17, 33, 70)
# ALiBi only: bfloat16 holds positions exactly up to 256, so rounding of the position shows beyond. Rounding of the
# slope shows with more than 8 heads: with fewer, every slope is a power of two.
LONG = 300
NEW_TOKENS = 24
MARGIN = 1e-3  # between the two best logits of a greedy step: far above float32 noise

ROTARY = dict(max_position_embeddings=128)
LANGUAGE = {  # name: (form, seed, sizes)
    "form-40b": ("40b", 11, dict(hidden_size=64, num_attention_heads=8, num_kv_heads=2, ffn_hidden_size=96,
                                 num_hidden_layers=2, vocab_size=259, **ROTARY)),
    "form-40b-1ln": ("40b-1ln", 12, dict(hidden_size=32, num_attention_heads=4, num_kv_heads=2, ffn_hidden_size=64,
                                         num_hidden_layers=2, vocab_size=131, tie_word_embeddings=False, **ROTARY)),
    "form-7b": ("7b", 13, dict(hidden_size=48, num_attention_heads=6, ffn_hidden_size=96, num_hidden_layers=2,
                               vocab_size=131, **ROTARY)),
    "form-rw": ("rw", 14, dict(hidden_size=48, num_attention_heads=12, ffn_hidden_size=64, num_hidden_layers=1,
                               vocab_size=131, max_position_embeddings=512)),
    "form-rw-4": ("rw", 15, dict(hidden_size=24, num_attention_heads=4, ffn_hidden_size=96, num_hidden_layers=2,
                                 vocab_size=67, max_position_embeddings=512)),
}
SCORE = {
    "form-40b-reward": ("40b", 16, dict(hidden_size=32, num_attention_heads=4, num_kv_heads=2, ffn_hidden_size=64,
                                        num_hidden_layers=2, vocab_size=67, **ROTARY)),
    "form-rw-reward": ("rw", 17, dict(hidden_size=48, num_attention_heads=12, ffn_hidden_size=64, num_hidden_layers=1,
                                      vocab_size=67, max_position_embeddings=512)),
}


def draw_sequences(config, draw):
    lengths = LENGTHS + ((LONG,) if config.alibi else ())
    return [torch.randint(0, config.vocab_size, (n,), generator=draw) for n in lengths]


def positions(model):
    """The position tables: rotary cos and sin, or ALiBi slopes and biases before the division by sqrt(head size)."""
    if not model.config.alibi:
        cos, sin = rotary_tables(model)
        watch_rotary(model, (cos, sin))
        return {"rotary_cos": cos, "rotary_sin": sin}
    bias = build_alibi_tensor(torch.ones(1, LONG, dtype=torch.long), model.config.num_attention_heads, torch.float32)
    return {"alibi_slopes": bias[:, 0, 1].clone(), "alibi_bias": bias[:, 0].clone()}


def next_tokens(model, sequences):
    """Log-probability of every token but the first of each sequence, and the entropies at the same places, packed."""
    pairs = [log_probs(logits(model, s)[:-1], s[1:]) for s in sequences]
    return tuple(torch.cat(column) for column in zip(*pairs))


@torch.no_grad()
def greedy(model, prompt):
    ids, margins = prompt, []
    for _ in range(NEW_TOKENS):
        top = logits(model, ids)[-1].topk(2)
        margins.append(top.values[0] - top.values[1])
        ids = torch.cat([ids, top.indices[:1]])
    return ids[len(prompt):], torch.stack(margins)


def greedy_pair(model, draw):
    """Two prompts (5 and 12 tokens) whose continuations have no near tie and do not settle on one token."""
    found = []
    for length in (5, 12):
        for _ in range(200):
            prompt = torch.randint(0, model.config.vocab_size, (length,), generator=draw)
            tokens, margins = greedy(model, prompt)
            if margins.min() > MARGIN and len(set(tokens.tolist())) >= 6:
                found.append((prompt, tokens, margins))
                break
    assert len(found) == 2, "no prompt with a clear greedy continuation"
    prompts, tokens, margins = zip(*found)
    ids, offsets = pack(prompts)
    return {"greedy_prompt_ids": ids, "greedy_prompt_offsets": offsets, "greedy_ids": torch.stack(tokens).int(),
            "greedy_margins": torch.stack(margins)}


def round_weights(model):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16())
    return model


def reduced_precision(directory, sequences):
    """A plain bfloat16 model and float32 arithmetic on the same, bfloat16-rounded weights."""
    out, grads = {}, {}
    for name, dtype in (("float32_rounded", torch.float32), ("bfloat16", torch.bfloat16)):
        model = round_weights(load(directory, "language", dtype))
        if not model.config.alibi:
            watch_rotary(model, rotary_tables(model))
        logp, entropy = next_tokens(model, sequences)
        (-logp.mean()).backward()
        grads[name] = {k: g.double() for k, g in gradients(model).items()}
        out[f"{name}/logp"], out[f"{name}/entropy"] = logp, entropy
    for k, exact in grads["float32_rounded"].items():
        error = (grads["bfloat16"][k] - exact).norm() / exact.norm()
        out[f"bfloat16/gradient_error/{k}"] = error.reshape(1)
    return out


def language_golden(directory, name):
    form, seed, sizes = LANGUAGE[name]
    build(directory, form, "language", seed, **sizes)
    model = load(directory, "language")
    draw = torch.Generator().manual_seed(1000 + seed)
    sequences = draw_sequences(model.config, draw)
    out = positions(model)
    out["ids"], out["offsets"] = pack(sequences)

    kept = [(s, p) for s, ids in enumerate(sequences) for p in range(max(0, len(ids) - 2), len(ids))]
    with torch.no_grad():
        out["logits_rows"] = torch.stack([logits(model, sequences[s])[p] for s, p in kept])
        states = model.transformer(sequences[2][None], use_cache=False, output_hidden_states=True).hidden_states
    out["logits_index"] = torch.tensor(kept, dtype=torch.int32)
    out["hidden_states"] = torch.stack(states)[:, 0]

    logp, entropy = next_tokens(model, sequences)
    out["logp"], out["entropy"], out["loss"] = logp, entropy, -logp.mean().reshape(1)
    (-logp.mean()).backward()
    out |= {f"gradient/{k}": g.float() for k, g in gradients(model).items()}

    model.zero_grad()
    logp, entropy = next_tokens(model, sequences)
    a, b = (torch.randn(len(logp), generator=draw, dtype=torch.float64) for _ in range(2))
    loss = (a * logp + b * entropy).sum()
    loss.backward()
    out |= {"weight_logp": a, "weight_entropy": b, "weighted_loss": loss.reshape(1)}
    out |= {f"weighted_gradient/{k}": g for k, g in gradients(model).items()}

    out |= greedy_pair(model, draw)
    out |= reduced_precision(directory, sequences)
    write(directory / "golden.safetensors", out, seed, command=COMMAND, form=form, head="language")
    error = (out["bfloat16/logp"] - out["float32_rounded/logp"]).norm() / len(logp) ** 0.5
    print(f"  loss {out['loss'].item():.6f}, entropy {entropy.mean():.3f} of {math.log(model.config.vocab_size):.3f}, "
          f"greedy margin {out['greedy_margins'].min():.1e}, bfloat16 log-prob error (rms) {error:.2e}")


def score_golden(directory, name):
    form, seed, sizes = SCORE[name]
    build(directory, form, "score", seed, **sizes)
    model = load(directory, "score")
    draw = torch.Generator().manual_seed(1000 + seed)
    sequences = draw_sequences(model.config, draw)
    out = positions(model)
    out["ids"], out["offsets"] = pack(sequences)

    v = torch.cat([values(model, s) for s in sequences])
    c = torch.randn(len(v), generator=draw, dtype=torch.float64)
    loss = (c * v).sum()
    loss.backward()
    with torch.no_grad():  # the class's own pooling, which must agree with the head at the last position
        scores = torch.stack([model(s[None], use_cache=False).logits[0, 0] for s in sequences])
    last = v[(out["offsets"][1:] - 1).long()]
    assert torch.allclose(scores, last, rtol=1e-13, atol=1e-13)
    out |= {"values": v, "scores": scores, "weight_values": c, "weighted_loss": loss.reshape(1)}
    out |= {f"weighted_gradient/{k}": g for k, g in gradients(model).items()}
    write(directory / "golden.safetensors", out, seed, command=COMMAND, form=form, head="score")
    print(f"  scores {[round(x, 3) for x in scores.tolist()]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/falcon/testdata/golden")
    out = parser.parse_args().out
    set_up_torch()
    for name in LANGUAGE:
        language_golden(out / name, name)
    for name in SCORE:
        score_golden(out / name, name)


if __name__ == "__main__":
    main()
