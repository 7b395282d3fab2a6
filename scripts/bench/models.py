"""Writes what a benchmark reads: random Falcons, prompts and alfred's configurations.

    python scripts/bench/models.py --size tiny --out build/bench/models

OUT/SIZE gets policy/ and reward/ (Hugging Face directories, 40b form), prompts.jsonl, and float32.yaml
and bfloat16.yaml for `alfred train`. The same size always gets the same weights and prompts. bench.py calls this itself.
"""
import argparse
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

DTYPES = ("float32", "bfloat16")
DEVIATION = 0.05  # of every weight but the gains of layer norms
PROMPTS = 400


@dataclass(frozen=True)
class Size:
    """Shape of the models and of the work of one PPO iteration; every response has full length."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    vocab: int
    rollouts: int
    prompt: int      # tokens
    response: int    # tokens
    iterations: int  # of a run; the first, which warms up, is left out of the figures


SIZES = {
    "tiny": Size(2, 64, 4, 2, 512, rollouts=64, prompt=16, response=32, iterations=21),
    "small": Size(8, 512, 8, 2, 8192, rollouts=32, prompt=64, response=64, iterations=4),
    "100m": Size(12, 768, 12, 4, 32768, rollouts=16, prompt=64, response=64, iterations=4),
}

# One policy and one value update over all responses, nothing held out, nothing written but what timing needs.
CONFIG = """\
stage: ppo
run: {{dir: {run}}}
device: {{threads: {threads}}}
model: {{policy: {folder}/policy, reward: {folder}/reward, precision: {dtype}}}
batching: {{micro_batch_tokens: {tokens}, rollout_slots: {s.rollouts}}}
policy_optimizer: &optimizer {{learning_rate: 1.0e-6, warmup_steps: 0, decay: constant, max_grad_norm: 1.0}}
value_optimizer: *optimizer
trainer:
  {{num_rollouts: {s.rollouts}, max_steps: {s.iterations}, value_steps_per_epoch: 1, kl_coef: 0.05, gamma: 1.0,
    eval_share: 0, eval_every: 0}}
trajectory:
  {{prompt_max_len: {s.prompt}, continuation_max_len: {s.response}, continuation_min_len: {s.response}}}
data: [{{source: prompts, path: {folder}/prompts.jsonl}}]
checkpoint: {{every: 1000}}
log: {{samples_every: 0, tensorboard: false}}
"""


def write(size, out, threads):
    """Writes OUT/SIZE, models only if they are not there yet. Returns the directory."""
    folder = Path(out).resolve() / size
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_models(SIZES[size], folder)
        (folder / "complete").touch()
    for dtype in DTYPES:
        (folder / f"{dtype}.yaml").write_text(config(size, folder, dtype, threads))
    return folder


def config(size, folder, dtype, threads):
    """The text of alfred's configuration."""
    s = SIZES[size]
    return CONFIG.format(s=s, folder=folder, run=run_directory(folder, dtype), dtype=dtype, threads=threads,
                         tokens=s.rollouts * (s.prompt + s.response))


def run_directory(folder, dtype):
    """Where alfred's run goes."""
    return folder / f"run-{dtype}"


def write_models(s, folder):
    """Models in float32, and prompts."""
    from transformers import FalconConfig, FalconForCausalLM, FalconForSequenceClassification, logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for seed, name, kind in ((0, "policy", FalconForCausalLM), (1, "reward", FalconForSequenceClassification)):
        shape = FalconConfig(
            vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers, num_attention_heads=s.heads,
            num_kv_heads=s.kv_heads, new_decoder_architecture=True, multi_query=True, parallel_attn=True, alibi=False,
            bias=False, attention_dropout=0.0, hidden_dropout=0.0, bos_token_id=11, eos_token_id=11,
            **({"num_labels": 1, "pad_token_id": 0} if name == "reward" else {}))
        model = kind(shape)
        fill(model, seed)
        model.save_pretrained(folder / name)
    draw = random.Random(0)
    rows = ({"prompt_ids": [draw.randrange(s.vocab) for _ in range(s.prompt)]} for _ in range(PROMPTS))
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def fill(model, seed):
    """Draws every parameter: gains of layer norms from [0.9, 1.1), the others normal."""
    import torch
    draw = torch.Generator().manual_seed(seed)
    gains = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.LayerNorm)}
    with torch.no_grad():
        for p in model.parameters():
            if id(p) in gains:
                p.uniform_(0.9, 1.1, generator=draw)
            else:
                p.normal_(0.0, DEVIATION, generator=draw)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(write(options.size, options.out, threads=0))


if __name__ == "__main__":
    main()
