"""Tiny Falcon models, ragged sequences and the golden file format, shared by falcon.py and ppo.py.

Models are built at random, written in float32 by save_pretrained and read back from disk, so that a golden belongs to
the files that lie beside it. Every sequence runs alone: no padding and no attention mask enter the arithmetic.
"""
import json
import shutil
import struct
from pathlib import Path

import torch
import transformers
from safetensors.torch import save
from transformers import FalconConfig, FalconForCausalLM, FalconForSequenceClassification

ROOT = Path(__file__).resolve().parents[2]  # the repository
HEADS = {"language": FalconForCausalLM, "score": FalconForSequenceClassification}

_NEW = dict(new_decoder_architecture=True, multi_query=True, parallel_attn=True, alibi=False, bias=False)
FLAGS = {
    "40b": dict(_NEW, num_ln_in_parallel_attn=2),
    "40b-1ln": dict(_NEW, num_ln_in_parallel_attn=1),
    "7b": dict(new_decoder_architecture=False, multi_query=True, parallel_attn=True, alibi=False, bias=False),
    "rw": dict(new_decoder_architecture=False, multi_query=False, parallel_attn=False, alibi=True, bias=True),
}


def set_up_torch():
    """One thread and deterministic kernels: the same machine writes the same bytes again."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@torch.no_grad()
def randomize(model, seed):
    """Fills every parameter, layer norms and biases too, so that a swapped or forgotten tensor shows in the output.

    Norm weights are uniform in [0.5, 1.5); biases normal with std 0.3; embedding and output head normal with std 0.35;
    linear weights normal with std 1.4 / sqrt(columns), score.weight with 4 / sqrt(columns).
    """
    draw = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.rand if p.dim() == 1 and name.endswith("weight") else torch.randn
        x = noise(p.shape, generator=draw, dtype=torch.float32)
        if noise is torch.rand:
            p.copy_(0.5 + x)
        elif p.dim() == 1:
            p.copy_(0.3 * x)
        elif "embedding" in name or "lm_head" in name:
            p.copy_(0.35 * x)
        else:
            p.copy_((4 if name == "score.weight" else 1.4) / p.shape[1] ** 0.5 * x)


def build(directory, form, head, seed, **sizes):
    """Writes a random model as a Hugging Face directory: config.json and model.safetensors, float32."""
    config = FalconConfig(**FLAGS[form], **sizes, bos_token_id=0, eos_token_id=0, attention_dropout=0.0,
                          hidden_dropout=0.0, **({"num_labels": 1} if head == "score" else {}))
    model = HEADS[head](config).float()
    randomize(model, seed)
    shutil.rmtree(directory, ignore_errors=True)
    model.save_pretrained(directory)
    # The generation defaults say nothing that config.json does not.
    (Path(directory) / "generation_config.json").unlink(missing_ok=True)


def load(directory, head, dtype=torch.float64):
    """Reads a model back; attention is pinned to SDPA because the eager path adds ALiBi a second time."""
    model = HEADS[head].from_pretrained(directory, dtype=dtype, attn_implementation="sdpa").eval()
    assert model.config._attn_implementation == "sdpa"
    for name, p in model.named_parameters():
        assert p.dtype == dtype, (name, p.dtype)
    return model


def rotary_tables(model):
    """cos and sin as the model uses them, float32 [positions, K / 2]; column j turns dimensions j and j + K / 2."""
    positions = torch.arange(model.config.max_position_embeddings)[None]
    cos, sin = model.transformer.rotary_emb(torch.zeros(1, dtype=torch.float32), positions)
    half = cos.shape[-1] // 2
    assert torch.equal(cos[..., :half], cos[..., half:]) and torch.equal(sin[..., :half], sin[..., half:])
    return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()


def watch_rotary(model, tables):
    """Checks on every forward that the model rotates by exactly the tables that the golden carries."""
    def check(module, inputs, output):
        for used, table in zip(output, tables):
            expected = torch.cat((table, table), -1)[:used.shape[1]].to(used.dtype)
            assert torch.equal(used[0], expected), "rotary table depends on the sequence length"
    model.transformer.rotary_emb.register_forward_hook(check)


def logits(model, ids):
    """Logits [T, V] of one sequence, float64 from a float64 model, else float32."""
    out = model(ids[None].long(), use_cache=False).logits[0]
    return out if out.dtype == torch.float64 else out.float()


def values(model, ids):
    """The score head at every position of one sequence, [T]."""
    return model.score(model.transformer(ids[None].long(), use_cache=False)[0])[0, :, 0]


def log_probs(rows, targets):
    """Log-probability of each target and entropy of each row of logits, natural logarithm."""
    logp = rows.log_softmax(-1)
    return logp.gather(-1, targets.long()[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


def pack(sequences):
    """A list of id tensors as (ids int32 [N], offsets int32 [S + 1])."""
    ends = torch.tensor([0] + [len(s) for s in sequences]).cumsum(0)
    return torch.cat(list(sequences)).int(), ends.int()


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def write(path, tensors, seed, **about):
    """Writes a golden. The header's metadata is sorted, which the safetensors package does not do by itself."""
    metadata = {"seed": str(seed), "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                **about}
    data = save({k: v.detach().contiguous().clone() for k, v in tensors.items()}, metadata)
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])
    print(f"{path.parent.name}/{path.name}: {path.stat().st_size:,} bytes, {len(tensors)} tensors")
