"""Writes the goldens of the training stages: PPO iterations on fixed trajectories, reward training and SFT, in float64.

    python scripts/golden/ppo.py

The PPO goldens use transformers' Falcon, torch's AdamW and torch's clip_grad_norm_ on trajectories that are also
written as replay files. README.md states every rule and every tensor.
"""
import argparse
import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import ppo_formulas as formulas
from falcon_model import (ROOT, build, gradients, load, log_probs, logits, rotary_tables, set_up_torch, values,
                          watch_rotary, write)
from ppo_stages import reward_golden, sft_golden

COMMAND = "python scripts/golden/ppo.py"
SEED = 67  # chosen so that no token comes near a kink of the clipped losses, see record
EOD = 0
SIZES = dict(hidden_size=32, num_attention_heads=4, num_kv_heads=2, ffn_hidden_size=48, num_hidden_layers=2,
             vocab_size=67, max_position_embeddings=64)
PROMPTS = (3, 20, 7, 12, 5, 16, 9, 4, 18, 6, 11, 14, 3, 8, 20, 10)
RESPONSES = ((24, 1, 7, 13, 2, 24, 5, 18, 9, 3, 24, 1, 11, 6, 20, 8),
             (5, 24, 1, 16, 24, 3, 10, 2, 21, 7, 12, 24, 4, 19, 1, 9),
             (2, 8, 24, 6, 1, 15, 22, 24, 3, 11, 1, 5, 17, 24, 10, 4))
CUT_SHORT = (1, 14)  # these places end by length although the response is shorter than 24: any length may be the limit


@dataclass
class Options:
    """Named as the configuration names them; the defaults are the card's."""
    iterations: int = 3
    policy_epochs: int = 1
    value_epochs: int = 1
    ppo_steps_per_epoch: int = 1
    value_steps_per_epoch: int = 8
    kl_coef: float = 0.01
    kl_estimator: str = "k1"
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range_policy: float = 0.2
    clip_range_value: float = 0.2
    whiten_advantages: bool = True
    whiten_rewards: bool = False
    score_on_eod: bool = True
    missing_eod: str = "last_token"
    reward_clip: float | None = None
    entropy_coef: float = 0.0
    temperature: float = 1.0
    learning_rate: float = 1e-4
    betas: tuple = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


VARIANTS = {
    "ppo-card": Options(),
    "ppo-options": Options(iterations=2, policy_epochs=2, value_epochs=2, ppo_steps_per_epoch=2,
                           value_steps_per_epoch=3, kl_coef=0.05, kl_estimator="k3", gamma=0.99, gae_lambda=0.9,
                           clip_range_policy=0.1, clip_range_value=0.1, whiten_rewards=True, missing_eod="mask",
                           reward_clip=1.0, entropy_coef=0.01, temperature=0.7, weight_decay=0.1, max_grad_norm=5.0),
}


@dataclass
class Trajectory:
    prompt: torch.Tensor
    response: torch.Tensor
    finish: str

    @property
    def ids(self):
        return torch.cat([self.prompt, self.response])

    @property
    def span(self):
        """The positions whose outputs belong to the response tokens: from the last prompt token to the last but one."""
        return slice(len(self.prompt) - 1, len(self.prompt) + len(self.response) - 1)


@torch.no_grad()
def sample(policy, prompt, count, finish, draw):
    """A response of the given length drawn from the policy; EOD is kept out and appended where the finish says so."""
    ids = prompt
    for _ in range(count - (finish == "eod")):
        p = logits(policy, ids)[-1].softmax(-1)
        p[EOD] = 0
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=draw)])
    response = ids[len(prompt):]
    return torch.cat([response, torch.tensor([EOD])]) if finish == "eod" else response


def draw_trajectories(policy, draw):
    out = []
    for lengths in RESPONSES:
        batch = []
        for i, (p, t) in enumerate(zip(PROMPTS, lengths)):
            finish = "length" if t == 24 or i in CUT_SHORT else "eod"
            prompt = torch.randint(1, SIZES["vocab_size"], (p,), generator=draw)
            if i == 4:
                prompt[2] = EOD  # inside a prompt it is an ordinary token
            batch.append(Trajectory(prompt, sample(policy, prompt, t, finish, draw), finish))
        out.append(batch)
    return out


def write_replay(directory, batches):
    directory.mkdir(parents=True, exist_ok=True)
    for i, batch in enumerate(batches, 1):
        lines = [json.dumps({"prompt_ids": t.prompt.tolist(), "response_ids": t.response.tolist(), "finish": t.finish})
                 for t in batch]
        (directory / f"{i:06d}.jsonl").write_text("\n".join(lines) + "\n")


class Trained:
    """A model, torch's AdamW and torch's global-norm clipping."""

    def __init__(self, model, o):
        self.model, self.limit = model, o.max_grad_norm
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() == 1]
        self.adam = torch.optim.AdamW([{"params": decayed, "weight_decay": o.weight_decay},
                                       {"params": others, "weight_decay": 0.0}],
                                      lr=o.learning_rate, betas=o.betas, eps=o.eps)

    def step(self):
        """Updates and returns the norm before clipping; call it with the gradients in place."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.limit)
        self.adam.step()
        self.adam.zero_grad()
        return norm


def mini_batches(n, epochs, steps, draw):
    """Contiguous slices, the remainder to the last; from the second epoch on slices of a permutation."""
    out = []
    for epoch in range(epochs):
        order = torch.arange(n) if epoch == 0 else torch.randperm(n, generator=draw)
        size = n // steps
        out += [order[k * size:(k + 1) * size if k < steps - 1 else n].tolist() for k in range(steps)]
    return out


def response_terms(model, t, temperature):
    """log p and entropy of each response token, of the distribution softmax(logits / temperature)."""
    return log_probs(logits(model, t.ids)[t.span] / temperature, t.response)


class Iteration:
    """One PPO iteration; out collects what the golden stores, token arrays packed in rollout order."""

    def __init__(self, o, policy, reference, reward, value, batch, draw):
        self.o, self.policy, self.value, self.batch = o, policy, value, batch
        self.out = {}
        self.lengths = [len(t.response) for t in batch]
        self.rollout(reference, reward)
        self.estimate()
        n = len(batch)
        self.train_policy(mini_batches(n, o.policy_epochs, o.ppo_steps_per_epoch, draw))
        self.train_value(mini_batches(n, o.value_epochs, o.value_steps_per_epoch, draw))

    @torch.no_grad()
    def rollout(self, reference, reward):
        o, out, batch = self.o, self.out, self.batch
        old = [response_terms(self.policy.model, t, o.temperature) for t in batch]
        self.logp, entropy = [lp for lp, _ in old], torch.cat([h for _, h in old])
        self.ref_logp = [response_terms(reference, t, o.temperature)[0] for t in batch]
        self.values = [values(self.value.model, t.ids)[t.span] for t in batch]
        scores = torch.stack([values(reward, t.ids)[-1] for t in batch])
        self.scores = scores if o.reward_clip is None else scores.clamp(-o.reward_clip, o.reward_clip)
        self.in_policy = [o.missing_eod != "mask" or t.finish == "eod" for t in batch]
        kl = torch.stack([(a - b).sum() for a, b in zip(self.logp, self.ref_logp)])
        out |= {"logp": torch.cat(self.logp), "ref_logp": torch.cat(self.ref_logp), "values": torch.cat(self.values),
                "entropy": entropy, "scores": scores, "paid_scores": self.scores,
                "in_policy": torch.tensor(self.in_policy, dtype=torch.int32),
                "response_offsets": torch.tensor([0] + self.lengths).cumsum(0).int(),
                "metric/entropy": entropy.mean(), "metric/kl": kl.mean(), "metric/score_mean": scores.mean()}

    def estimate(self):
        o, out = self.o, self.out
        rewards = []
        for lp, ref, score in zip(self.logp, self.ref_logp, self.scores):
            r = -o.kl_coef * formulas.kl_penalty(lp, ref, o.kl_estimator)
            r[-1] += score
            rewards.append(r)
        counted = torch.cat([torch.full((n,), keep) for n, keep in zip(self.lengths, self.in_policy)])
        out["rewards"] = torch.cat(rewards)
        if o.whiten_rewards:
            out["whitened_rewards"] = formulas.whiten(out["rewards"], counted, shift_mean=False)
            rewards = out["whitened_rewards"].split(self.lengths)
        advantage = torch.cat([formulas.advantages(r, v, o.gamma, o.gae_lambda)
                               for r, v in zip(rewards, self.values)])
        v = out["values"]
        out["advantages"], out["returns"] = advantage, advantage + v
        out["whitened_advantages"] = formulas.whiten(advantage, counted, shift_mean=True)
        assert o.whiten_advantages
        self.advantages = out["whitened_advantages"].split(self.lengths)
        self.returns = out["returns"].split(self.lengths)
        residual = ((v - out["returns"]) ** 2).mean()
        out["metric/explained_variance"] = 1 - residual / out["returns"].var(correction=0)

    def record(self, name, trained, steps, batches):
        """Stores per-step columns, the mini-batches and the weights afterwards."""
        for s in steps:  # float32 noise must not carry a token over a kink of the clipped loss
            assert s["clip_margin"] > 1e-3, s["clip_margin"]
        for k in steps[0]:
            self.out[f"{name}_{k}"] = torch.stack([torch.as_tensor(s[k], dtype=torch.float64).detach() for s in steps])
        self.out[f"{name}_batch_index"] = torch.tensor(sum(batches, []), dtype=torch.int32)
        self.out[f"{name}_batch_offsets"] = torch.tensor([0] + [len(b) for b in batches]).cumsum(0).int()
        self.out |= {f"{name}_weights/{k}": p.detach().clone() for k, p in trained.model.named_parameters()}

    def first_gradients(self, name, trained, steps):
        if not steps:
            self.out |= {f"{name}_gradient/{k}": g for k, g in gradients(trained.model).items()}

    def train_policy(self, batches):
        o, steps = self.o, []
        for indices in batches:
            indices = [i for i in indices if self.in_policy[i]]
            tokens = sum(self.lengths[i] for i in indices)
            s = dict.fromkeys(("loss", "total_loss", "clip_fraction", "approx_kl", "entropy"), 0.0)
            s["ratio_max_error"], s["clip_margin"] = torch.zeros(()), torch.tensor(float("inf"))
            for i in indices:
                logp, entropy = response_terms(self.policy.model, self.batch[i], o.temperature)
                term, clipped, ratio = formulas.policy_terms(logp, self.logp[i], self.advantages[i],
                                                             o.clip_range_policy)
                loss = term.sum() / tokens
                total = loss - o.entropy_coef * entropy.sum() / tokens
                total.backward()
                s["loss"] += loss.detach()
                s["total_loss"] += total.detach()
                s["entropy"] += entropy.detach().sum() / tokens
                s["clip_fraction"] += clipped.double().sum() / tokens
                s["approx_kl"] += 0.5 * ((logp - self.logp[i]) ** 2).detach().sum() / tokens
                s["ratio_max_error"] = torch.max(s["ratio_max_error"], (ratio - 1).abs().max())
                margin = ((ratio - 1).abs() - o.clip_range_policy).abs().min()
                s["clip_margin"] = torch.min(s["clip_margin"], margin)
            self.first_gradients("policy", self.policy, steps)
            s["grad_norm"] = self.policy.step()
            steps.append(s)
        assert steps[0]["ratio_max_error"] == 0 and steps[0]["clip_fraction"] == 0
        self.record("policy", self.policy, steps, batches)

    def train_value(self, batches):
        o, steps = self.o, []
        for indices in batches:
            tokens = sum(self.lengths[i] for i in indices)
            s = {"loss": 0.0, "clip_fraction": 0.0, "clip_margin": torch.tensor(float("inf"))}
            for i in indices:
                t = self.batch[i]
                v = values(self.value.model, t.ids)[t.span]
                term, clipped = formulas.value_terms(v, self.values[i], self.returns[i], o.clip_range_value)
                loss = term.sum() / tokens
                loss.backward()
                s["loss"] += loss.detach()
                s["clip_fraction"] += clipped.double().sum() / tokens
                margin = ((v - self.values[i]).abs() - o.clip_range_value).abs().min()
                s["clip_margin"] = torch.min(s["clip_margin"], margin)
            self.first_gradients("value", self.value, steps)
            s["grad_norm"] = self.value.step()
            steps.append(s)
        self.record("value", self.value, steps, batches)


def ppo_golden(out, name, o, batches):
    policy, reward = load(out / "policy", "language"), load(out / "reward", "score")
    reference, value = copy.deepcopy(policy), copy.deepcopy(reward)
    tables = rotary_tables(policy)
    for model in (policy, reference, reward, value):
        watch_rotary(model, tables)
    trained = Trained(policy, o), Trained(value, o)
    draw = torch.Generator().manual_seed(SEED + 3)
    tensors = dict(zip(("rotary_cos", "rotary_sin"), tables))
    for i in range(o.iterations):
        it = Iteration(o, trained[0], reference, reward, trained[1], batches[i], draw).out
        show(i + 1, it)
        tensors |= {f"iteration{i + 1}/{k}": v.reshape(1) if v.dim() == 0 else v for k, v in it.items()}
    write(out / f"{name}.safetensors", tensors, SEED, command=COMMAND, options=json.dumps(asdict(o)))


def show(number, it):
    def row(key):
        return " ".join(f"{x:.3g}" for x in it[key].tolist())
    print(f"  iteration {number}: kl {it['metric/kl']:.4f} explained variance {it['metric/explained_variance']:.3f} "
          f"entropy {it['metric/entropy']:.3f}")
    for model in ("policy", "value"):
        print(f"    {model}: loss {row(model + '_loss')} | norm {row(model + '_grad_norm')} | clipped "
              f"{row(model + '_clip_fraction')} | margin {row(model + '_clip_margin')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/rlhf/testdata/golden")
    out = parser.parse_args().out
    set_up_torch()
    formulas.self_test()
    build(out / "policy", "40b", "language", SEED, **SIZES)
    build(out / "reward", "40b", "score", SEED + 1, **SIZES)
    batches = draw_trajectories(load(out / "policy", "language"), torch.Generator().manual_seed(SEED + 2))
    write_replay(out / "trajectories", batches)
    for name, options in VARIANTS.items():
        ppo_golden(out, name, options, batches)
    reward_golden(out, COMMAND, SEED + 4, EOD)
    sft_golden(out, COMMAND, SEED + 5, EOD)


if __name__ == "__main__":
    main()
