"""PPO iterations of TRL's PPOTrainer as installed (trl.experimental.ppo, last in TRL 1.12), on alfred's work.

    python scripts/bench/trl_peer.py --models build/bench/models/small --size small --dtype float32 --threads 2

Policy, reference, reward and value models as in peer.py; no stop token, one epoch, one minibatch, gradient
checkpointing off. bfloat16 means weights and optimizer state: TRL keeps no float32 masters, so it does less there. An
iteration includes what TRL does beside it, two garbage collections above all. Prints a line of JSON: seconds of every
iteration and of its sampling.
"""
import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch  # noqa: E402
import trl.experimental.ppo.ppo_trainer as trainer_module  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from transformers import (  # noqa: E402
    FalconForCausalLM, FalconForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback)
from trl.experimental.ppo import PPOConfig, PPOTrainer  # noqa: E402

from models import DTYPES, SIZES  # noqa: E402


class Clock(TrainerCallback):
    """When iterations end, and how long each one samples."""

    def __init__(self):
        self.ends, self.rollout = [], []
        self.sample, trainer_module.batch_generation = trainer_module.batch_generation, self.timed_sample

    def timed_sample(self, *arguments):
        start = time.perf_counter()
        out = self.sample(*arguments)
        self.rollout.append(time.perf_counter() - start)
        return out

    def on_train_begin(self, args, state, control, **more):
        self.ends.append(time.perf_counter())

    def on_step_end(self, args, state, control, **more):
        self.ends.append(time.perf_counter())


def load(models, name, dtype):
    """A model without a stop token; padding has an id that it cannot sample, as TRL ends responses at padding."""
    kind = FalconForCausalLM if name == "policy" else FalconForSequenceClassification
    model = kind.from_pretrained(models / name, dtype=dtype)
    model.config.eos_token_id = None
    if name == "policy":
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = model.config.vocab_size
    return model


def train(models, size, dtype):
    """Seconds of each iteration and of its sampling."""
    s, clock = SIZES[size], Clock()
    words = {str(i): i for i in range(s.vocab + 1)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="0")),
                                        pad_token=str(s.vocab), eos_token="11", padding_side="left")
    prompts = [json.loads(row)["prompt_ids"] for row in (models / "prompts.jsonl").read_text().splitlines()]
    episodes = s.rollouts * s.iterations
    rows = Dataset.from_dict({"input_ids": [prompts[i % len(prompts)] for i in range(episodes)]})
    policy, reference, value, reward = (load(models, name, dtype) for name in ("policy", "policy", "reward", "reward"))
    with tempfile.TemporaryDirectory() as out:
        config = PPOConfig(
            output_dir=out, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", total_episodes=episodes,
            per_device_train_batch_size=s.rollouts, local_rollout_forward_batch_size=s.rollouts, num_mini_batches=1,
            num_ppo_epochs=1, num_sample_generations=0, response_length=s.response, stop_token=None, temperature=1.0,
            learning_rate=1e-6, kl_coef=0.05, gradient_checkpointing=False, bf16=False)
        PPOTrainer(args=config, processing_class=tokenizer, model=policy, ref_model=reference, reward_model=reward,
                   value_model=value, train_dataset=rows, eval_dataset=rows.select(range(s.rollouts)),
                   callbacks=[clock]).train()
    seconds = [end - start for start, end in zip(clock.ends, clock.ends[1:])]
    counts = len(seconds), len(clock.rollout)
    if counts != (s.iterations, s.iterations):
        raise SystemExit(f"TRL ran {counts[0]} iterations and sampled {counts[1]} times, not {s.iterations}")
    return {"iteration": seconds, "rollout": clock.rollout}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="what models.py wrote")
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    print(json.dumps(train(options.models, options.size, getattr(torch, options.dtype))))


if __name__ == "__main__":
    main()
