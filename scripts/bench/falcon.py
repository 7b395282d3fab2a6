"""Falcon (40b form) written for speed in PyTorch: the model of peer.py.

What makes it fast on a CPU: keys and values are cached once per group of heads, in buffers of full length; float32
matrices are stored [in, out], which MKL multiplies two to four times as fast on the few rows of a decoding step, and
bfloat16 matrices [out, in], which oneDNN prefers; residuals are added by the matrix product that makes them; the head
is computed only where its result is used.

Letters: B rows, T tokens, D hidden size, H heads, G groups of heads, K head size, V vocabulary.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoConfig

MATRICES = ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
NORMS = ("ln_attn", "ln_mlp")


class Falcon:
    """Weights from a Hugging Face directory. With a score head the outputs are [B, T] values, else [B, T, V] logits."""

    def __init__(self, directory, dtype, trained):
        c = AutoConfig.from_pretrained(directory)
        self.heads, self.groups, self.epsilon = c.num_attention_heads, c.num_kv_heads, c.layer_norm_epsilon
        self.head_size = c.hidden_size // c.num_attention_heads
        self.in_out = dtype == torch.float32
        tensors = load_file(Path(directory) / "model.safetensors")

        def take(name, matrix=False):
            w = tensors[name].to(dtype)
            w = w.T.contiguous() if matrix and self.in_out else w.contiguous()
            return w.requires_grad_(trained)

        def norm(name):
            return take(f"{name}.weight"), take(f"{name}.bias")

        self.embedding = take("transformer.word_embeddings.weight")  # [V, D], also the head
        self.layers = []
        for i in range(c.num_hidden_layers):
            at = f"transformer.h.{i}."
            self.layers.append([*(norm(at + n) for n in NORMS), *(take(f"{at}{m}.weight", True) for m in MATRICES)])
        self.last_norm = norm("transformer.ln_f")
        self.score = take("score.weight") if "score.weight" in tensors else None
        theta = c.rope_parameters["rope_theta"]
        turn = theta ** (-torch.arange(0, self.head_size, 2) / self.head_size)
        angles = torch.outer(torch.arange(c.max_position_embeddings, dtype=torch.float32), turn)
        self.cos, self.sin = angles.cos().to(dtype)[:, None, None], angles.sin().to(dtype)[:, None, None]

    def parameters(self):
        """All weights."""
        flat = [self.embedding, *self.last_norm] + ([] if self.score is None else [self.score])
        for attention_norm, mlp_norm, *matrices in self.layers:
            flat += [*attention_norm, *mlp_norm, *matrices]
        return flat

    def cache(self, rows, length):
        """Empty keys and values of each layer, [B, G, length, K]."""
        def empty():
            return self.embedding.new_empty(rows, self.groups, length, self.head_size)
        return [(empty(), empty()) for _ in self.layers]

    def head(self):
        """The output matrix [D, V], in the layout for few rows."""
        return self.embedding.T.contiguous() if self.in_out else self.embedding.T

    def __call__(self, ids, first, last, head=None, cache=None, past=0):
        """float32 outputs of the positions first to last - 1 of ids [B, T], which follow past tokens in the cache."""
        x = F.embedding(ids, self.embedding)
        for i, layer in enumerate(self.layers):
            x = self._layer(x, *layer, cache and cache[i], past)
        x = self._norm(x[:, first:last], self.last_norm)
        if self.score is not None:
            return F.linear(x, self.score)[..., 0].float()
        return (x @ (self.embedding.T if head is None else head)).float()

    def _norm(self, x, gain_and_bias):
        return F.layer_norm(x, x.shape[-1:], *gain_and_bias, self.epsilon)

    def _product(self, x, w):
        return x @ w if self.in_out else F.linear(x, w)

    def _add_product(self, total, x, w):
        return torch.addmm(total, x, w if self.in_out else w.T)

    def _layer(self, x, attention_norm, mlp_norm, qkv, dense, up, down, cache, past):
        b, t, d = x.shape
        mixed = self._attention(self._product(self._norm(x, attention_norm), qkv), cache, past)
        wide = F.gelu(self._product(self._norm(x, mlp_norm), up))
        x = self._add_product(x.reshape(b * t, d), mixed.reshape(b * t, d), dense)
        return self._add_product(x, wide.view(b * t, -1), down).view(b, t, d)

    def _attention(self, qkv, cache, past):
        """[B, T, D] from [B, T, G (H/G + 2) K]. More than one token at once start at position 0."""
        b, t, _ = qkv.shape
        qkv = qkv.view(b, t, self.groups, -1, self.head_size)
        per_group = qkv.shape[3] - 2
        a, z = qkv[:, :, :, :-1].chunk(2, -1)  # queries and the key turn together
        cos, sin = self.cos[past:past + t], self.sin[past:past + t]
        turned = torch.cat((a * cos - z * sin, z * cos + a * sin), -1)
        q, k, v = turned[:, :, :, :-1], turned[:, :, :, -1], qkv[:, :, :, -1]
        if cache is not None:
            for buffer, new in zip(cache, (k, v)):
                buffer[:, :, past:past + t] = new.transpose(1, 2)
        if t == 1:  # the heads of a group are rows of one problem: nothing is repeated
            k, v = (buffer[:, :, :past + 1] for buffer in cache)
            return F.scaled_dot_product_attention(q[:, 0], k, v).reshape(b, 1, -1)
        k, v = (x[:, :, :, None].expand(-1, -1, -1, per_group, -1).reshape(b, t, self.heads, -1) for x in (k, v))
        q = q.reshape(b, t, self.heads, -1)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, -1)
