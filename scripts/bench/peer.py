"""PPO iterations written by hand in PyTorch: the strong opponent of `alfred train`, on the same models and work.

    python scripts/bench/peer.py --models build/bench/models/small --size small --dtype float32 --threads 2

Per iteration: responses sampled with a cache, whose log-probs are the old ones; reward and reference passes; one
forward pass of the value model that serves the old values and their update; KL reward, GAE, whitening; one clipped
value and one clipped policy update with clipped gradients and fused AdamW. bfloat16 means weights and activations;
masters and optimizer state stay float32. Prints a line of JSON: for each part the seconds of every iteration.
"""
import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from falcon import Falcon
from models import DTYPES, SIZES

KL, GAMMA, LAMBDA, CLIP, GRADIENT_NORM = 0.05, 1.0, 0.95, 0.2, 1.0


class Optimizer:
    """AdamW on float32 masters, which are the weights themselves if these are float32."""

    def __init__(self, weights):
        self.weights, self.apart = weights, weights[0].dtype != torch.float32
        self.masters = weights
        if self.apart:
            self.masters = [w.detach().float() for w in weights]
            for m in self.masters:
                m.grad = torch.empty_like(m)
        self.adam = torch.optim.AdamW(self.masters, lr=1e-6, fused=True)

    def step(self):
        """One step with the gradients of the weights, which it drops."""
        with torch.no_grad():
            if self.apart:
                torch._foreach_copy_([m.grad for m in self.masters], [w.grad for w in self.weights])
            torch.nn.utils.clip_grad_norm_(self.masters, GRADIENT_NORM)
            self.adam.step()
            if self.apart:
                torch._foreach_copy_(self.weights, self.masters)
        for w in self.weights:
            w.grad = None


class PPO:
    def __init__(self, models, size, dtype):
        self.size = SIZES[size]
        self.policy = Falcon(models / "policy", dtype, trained=True)
        self.reference = Falcon(models / "policy", dtype, trained=False)
        self.value = Falcon(models / "reward", dtype, trained=True)
        self.reward = Falcon(models / "reward", dtype, trained=False)
        self.policy_optimizer, self.value_optimizer = (Optimizer(m.parameters()) for m in (self.policy, self.value))
        rows = (models / "prompts.jsonl").read_text().splitlines()
        self.prompts = torch.tensor([json.loads(row)["prompt_ids"] for row in rows])

    def iteration(self, number):
        """Seconds of each part, under alfred's names."""
        r, p = self.size.rollouts, self.size.prompt
        clock = [time.perf_counter()]
        at = (number * r + torch.arange(r)) % len(self.prompts)
        ids, old = self.sample(self.prompts[at])
        clock.append(time.perf_counter())
        with torch.no_grad():
            score = self.reward(ids, -1, None)[:, 0]
            reference = self.log_probs(self.reference, ids)
        clock.append(time.perf_counter())
        values = self.value(ids, p - 1, -1)
        advantages, returns = self.advantages(values.detach(), old - reference, score)
        value_loss(values, returns).backward()
        self.value_optimizer.step()
        clock.append(time.perf_counter())
        policy_loss(self.log_probs(self.policy, ids), old, advantages).backward()
        self.policy_optimizer.step()
        clock.append(time.perf_counter())
        parts = {name: end - start for name, start, end in
                 zip(("rollout", "scoring", "value_update", "policy_update"), clock, clock[1:])}
        return {"iteration": clock[-1] - clock[0], **parts}

    @torch.no_grad()
    def sample(self, prompts):
        """ids [R, P+N] and the log-probs [R, N] of the N sampled."""
        (r, p), n = prompts.shape, self.size.response
        ids, log_probs = torch.cat((prompts, prompts.new_empty(r, n)), 1), torch.empty(r, n)
        cache, head = self.policy.cache(r, p + n), self.policy.head()
        logits = self.policy(prompts, -1, None, head, cache)[:, 0]
        for i in range(n):
            log_all = logits.log_softmax(-1)
            # One uniform number per row and the inverse of the distribution: multinomial draws one per token.
            below = log_all.exp().cumsum(-1)
            token = torch.searchsorted(below, torch.rand(r, 1) * below[:, -1:]).clamp_(max=below.shape[1] - 1)
            ids[:, p + i], log_probs[:, i] = token[:, 0], log_all.gather(1, token)[:, 0]
            if i + 1 < n:
                logits = self.policy(token, 0, None, head, cache, p + i)[:, 0]
        return ids, log_probs

    def log_probs(self, model, ids):
        """[R, N] of the response in ids [R, P+N]."""
        p = self.size.prompt
        logits = model(ids, p - 1, -1)
        return -F.cross_entropy(logits.flatten(0, 1), ids[:, p:].flatten(), reduction="none").view(len(ids), -1)

    def advantages(self, values, divergence, score):
        """Whitened advantages and the returns, [R, N]; the score is paid at the last token."""
        rewards = -KL * divergence
        rewards[:, -1] += score
        following = F.pad(values[:, 1:], (0, 1))
        surprise = rewards + GAMMA * following - values
        advantages, sum_so_far = torch.empty_like(values), torch.zeros(len(values))
        for t in reversed(range(values.shape[1])):
            sum_so_far = surprise[:, t] + GAMMA * LAMBDA * sum_so_far
            advantages[:, t] = sum_so_far
        spread, mean = torch.var_mean(advantages, correction=0)
        return (advantages - mean) * torch.rsqrt(spread + 1e-8), advantages + values


def policy_loss(new, old, advantages):
    ratio = (new - old).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()


def value_loss(values, returns):
    old = values.detach()
    clipped = old + (values - old).clamp(-CLIP, CLIP)
    return 0.5 * torch.max((values - returns).square(), (clipped - returns).square()).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="what models.py wrote")
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    ppo = PPO(options.models, options.size, getattr(torch, options.dtype))
    rows = [ppo.iteration(i) for i in range(SIZES[options.size].iterations)]
    print(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))


if __name__ == "__main__":
    main()
