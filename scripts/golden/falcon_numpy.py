"""Falcon's forward pass in plain NumPy float64, and the means to hold goldens against it.

Written from the definition without torch or transformers: the full attention matrix, one head at a time, no cache.
"""
import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

erf = np.vectorize(math.erf, otypes=[np.float64])


def bfloat16(x):
    """Rounds float32 to bfloat16, ties to even, and returns it as float32."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def alibi(heads, length):
    """Bias [heads, length]: slope 2^(-8 i / n), n the power of two at or below heads, then every other slope of 2 n."""
    n = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * i / n) for i in range(1, n + 1)]
    slopes += [2.0 ** (-8 * i / (2 * n)) for i in range(1, 2 * (heads - n), 2)]
    return bfloat16(bfloat16(slopes)[:, None] * bfloat16(np.arange(length))[None])


class Model:
    """A Falcon read from a directory; golden brings the rotary tables."""

    def __init__(self, directory, golden):
        directory = Path(directory)
        self.c = json.loads((directory / "config.json").read_text())
        self.w = {k: v.astype(np.float64) for k, v in load_file(directory / "model.safetensors").items()}
        self.golden = golden
        self.heads, self.size = self.c["num_attention_heads"], self.c["hidden_size"] // self.c["num_attention_heads"]

    def linear(self, name, x):
        bias = self.w.get(f"{name}.bias")
        return x @ self.w[f"{name}.weight"].T + (0 if bias is None else bias)

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred ** 2).mean(-1, keepdims=True) + self.c["layer_norm_epsilon"])
        return centred * scale * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def heads_of(self, fused):
        """Query heads and, for each of them, its key and value head, all [T, K]."""
        k, h = self.size, self.heads
        rows = [fused[:, i * k:(i + 1) * k] for i in range(fused.shape[1] // k)]
        if self.c["new_decoder_architecture"]:
            per = h // self.c["num_kv_heads"]
            groups = [rows[g * (per + 2):(g + 1) * (per + 2)] for g in range(self.c["num_kv_heads"])]
            return [(group[i], group[per], group[per + 1]) for group in groups for i in range(per)]
        if self.c["multi_query"]:
            return [(rows[i], rows[h], rows[h + 1]) for i in range(h)]
        return [(rows[3 * i], rows[3 * i + 1], rows[3 * i + 2]) for i in range(h)]

    def rotate(self, x):
        half = self.size // 2
        cos, sin = (self.golden[f"rotary_{f}"][:len(x)].astype(np.float64) for f in ("cos", "sin"))
        a, b = x[:, :half], x[:, half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], 1)

    def attention(self, name, x):
        t = len(x)
        future = np.triu(np.ones((t, t), bool), 1)
        out = []
        for h, (q, k, v) in enumerate(self.heads_of(self.linear(f"{name}.query_key_value", x))):
            if self.c["alibi"]:
                s = (q @ k.T + alibi(self.heads, t)[h].astype(np.float64)) / math.sqrt(self.size)
            else:
                s = self.rotate(q) @ self.rotate(k).T / math.sqrt(self.size)
            s = np.where(future, -np.inf, s)
            p = np.exp(s - s.max(-1, keepdims=True))
            out.append(p / p.sum(-1, keepdims=True) @ v)
        return self.linear(f"{name}.dense", np.concatenate(out, 1))

    def mlp(self, name, x):
        x = self.linear(f"{name}.dense_h_to_4h", x)
        return self.linear(f"{name}.dense_4h_to_h", 0.5 * x * (1 + erf(x / math.sqrt(2))))

    def block(self, name, x):
        if not (self.c["new_decoder_architecture"] or self.c["parallel_attn"]):
            x = x + self.attention(f"{name}.self_attention", self.norm(f"{name}.input_layernorm", x))
            return x + self.mlp(f"{name}.mlp", self.norm(f"{name}.post_attention_layernorm", x))
        two = f"{name}.ln_mlp.weight" in self.w
        a, m = ("ln_attn", "ln_mlp") if two else ("input_layernorm", "input_layernorm")
        return (x + self.attention(f"{name}.self_attention", self.norm(f"{name}.{a}", x))
                + self.mlp(f"{name}.mlp", self.norm(f"{name}.{m}", x)))

    def states(self, ids):
        """Embedding, the output of each block, and the output of the final layer norm."""
        out = [self.w["transformer.word_embeddings.weight"][ids]]
        for i in range(self.c["num_hidden_layers"]):
            out.append(self.block(f"transformer.h.{i}", out[-1]))
        return out + [self.norm("transformer.ln_f", out[-1])]

    def logits(self, ids):
        head = self.w.get("lm_head.weight", self.w["transformer.word_embeddings.weight"])
        return self.states(ids)[-1] @ head.T

    def values(self, ids):
        return (self.states(ids)[-1] @ self.w["score.weight"].T)[:, 0]

    def log_probs(self, ids, temperature=1.0):
        """Log-probability of ids[1:] and the entropy at the same places."""
        z = self.logits(ids)[:-1] / temperature
        z = z - z.max(-1, keepdims=True) if len(z) else z
        z = z - np.log(np.exp(z).sum(-1, keepdims=True))
        return z[np.arange(len(z)), ids[1:]], -(np.exp(z) * z).sum(-1)


def slope(f, m, name, direction, step=1e-4):
    """Derivative of each entry of f() when parameter name of m moves along direction: five points, error step^4."""
    w, at = m.w[name], {}
    for k in (-2, -1, 1, 2):
        m.w[name] = w + k * step * direction
        at[k] = f()
    m.w[name] = w
    return {key: (8 * (at[1][key] - at[-1][key]) - (at[2][key] - at[-2][key])) / (12 * step) for key in at[1]}


class Checks:
    """Counts and reports disagreements; worst holds the largest error of each kind."""

    def __init__(self, name):
        self.name, self.failed, self.worst = name, 0, {}

    def close(self, kind, what, ours, golden, tolerance, scale=None):
        """Largest |ours - golden| in units of scale, by default the largest |golden| or 1."""
        error = np.abs(np.asarray(ours, np.float64) - golden).max()
        error /= scale or max(1.0, np.abs(golden).max())
        self.worst[kind] = max(self.worst.get(kind, 0), error)
        if not error <= tolerance:
            self.failed += 1
            print(f"{self.name}: {what}: error {error:.2e} exceeds {tolerance:.0e}")

    def gradient(self, kind, f, m, stored, tolerance):
        """Holds stored gradients of the scalar f()[kind] against differences along one random direction each."""
        if set(stored) != set(m.w):
            self.failed += 1
            print(f"{self.name}: {kind}: names differ from the model's: {sorted(set(stored) ^ set(m.w))}")
            return
        rng = np.random.default_rng(1)
        whole = math.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in stored.values()))
        for name, g in stored.items():
            direction = rng.standard_normal(g.shape)
            ours = slope(f, m, name, direction)[kind]
            self.close(kind, f"{kind}/{name}", ours, (g.astype(np.float64) * direction).sum(), tolerance, whole)

    def report(self):
        print(f"{self.name}: largest error " + ", ".join(f"{k} {v:.1e}" for k, v in self.worst.items()))
        return self.failed


def part(golden, prefix):
    """The tensors under prefix/, named without it."""
    return {k[len(prefix) + 1:]: v for k, v in golden.items() if k.startswith(prefix + "/")}
