"""Recomputes the goldens of the training stages in plain NumPy float64, from the replay files and the stored weights.

    python scripts/golden/ppo_check.py

Advantages come from the sum over future deltas, not the recursion; the model from falcon_numpy.py; the first policy
update from Adam's formula by hand; first gradients from five-point differences. Exits non-zero on a disagreement.
"""
import argparse
import json
import math
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from falcon_numpy import Checks, Model, part

ROOT = Path(__file__).resolve().parents[2]
VALUE_TOLERANCE = 1e-11     # as in falcon_check.py
GRADIENT_TOLERANCE = 1e-8
UPDATE_TOLERANCE = 1e-13    # one formula per element


def split(x, offsets):
    return [x[a:b] for a, b in zip(offsets, offsets[1:])]


class Replay:
    """One iteration: its trajectories, the models as they were before it, and what the golden says."""

    def __init__(self, out, golden, options, number):
        self.o, self.number, self.golden = options, number, golden
        self.g = part(golden, f"iteration{number}")
        lines = (out / f"trajectories/{number:06d}.jsonl").read_text().splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.ids = [np.array(r["prompt_ids"] + r["response_ids"]) for r in self.rows]
        self.reference, self.reward = Model(out / "policy", golden), Model(out / "reward", golden)
        self.policy, self.value = Model(out / "policy", golden), Model(out / "reward", golden)
        if number > 1:
            before = part(golden, f"iteration{number - 1}")
            self.policy.w, self.value.w = part(before, "policy_weights"), part(before, "value_weights")

    def span(self, i):
        p = len(self.rows[i]["prompt_ids"])
        return slice(p - 1, len(self.ids[i]) - 1)

    def terms(self, model, i):
        return [x[self.span(i)] for x in model.log_probs(self.ids[i], self.o["temperature"])]

    def rollout(self, check):
        g, o, all_of = self.g, self.o, range(len(self.rows))
        old = [self.terms(self.policy, i) for i in all_of]
        ref = [self.terms(self.reference, i)[0] for i in all_of]
        self.old, self.old_values = [x for x, _ in old], [self.value.values(self.ids[i])[self.span(i)] for i in all_of]
        scores = np.array([self.reward.values(ids)[-1] for ids in self.ids])
        paid = scores if o["reward_clip"] is None else np.clip(scores, -o["reward_clip"], o["reward_clip"])
        self.kept = np.array([o["missing_eod"] != "mask" or r["finish"] == "eod" for r in self.rows])
        rewards = []
        for a, b, s in zip(self.old, ref, paid):
            d = a - b
            r = -o["kl_coef"] * (d if o["kl_estimator"] == "k1" else np.expm1(-d) + d)
            r[-1] += s
            rewards.append(r)
        lengths = [len(x) for x in self.old]
        counted = np.repeat(self.kept, lengths)
        used = np.concatenate(rewards)
        if o["whiten_rewards"]:
            mean, var = used[counted].mean(), used[counted].var()
            used = (used - mean) / math.sqrt(var + 1e-8) + mean
            check.close("rollout", "whitened_rewards", used, g["whitened_rewards"], VALUE_TOLERANCE)
        adv = []
        for r, v in zip(split(used, g["response_offsets"]), self.old_values):
            delta = r + o["gamma"] * np.append(v[1:], 0) - v
            adv.append([sum((o["gamma"] * o["gae_lambda"]) ** k * d for k, d in enumerate(delta[t:]))
                        for t in range(len(r))])
        adv, v = np.concatenate(adv), np.concatenate(self.old_values)
        white = (adv - adv[counted].mean()) / math.sqrt(adv[counted].var() + 1e-8)
        self.advantages, self.returns = (split(x, g["response_offsets"]) for x in (white, adv + v))
        entropy = np.concatenate([h for _, h in old])
        for name, ours in {
                "logp": np.concatenate(self.old), "ref_logp": np.concatenate(ref), "values": v, "entropy": entropy,
                "scores": scores, "paid_scores": paid, "in_policy": self.kept, "rewards": np.concatenate(rewards),
                "advantages": adv, "whitened_advantages": white, "returns": adv + v,
                "response_offsets": np.cumsum([0] + lengths), "metric/entropy": entropy.mean(),
                "metric/score_mean": scores.mean(),
                "metric/kl": np.mean([(a - b).sum() for a, b in zip(self.old, ref)]),
                "metric/explained_variance": 1 - (adv ** 2).mean() / (adv + v).var()}.items():
            check.close("rollout", name, ours, g[name], VALUE_TOLERANCE)

    def policy_loss(self):
        batch = split(self.g["policy_batch_index"], self.g["policy_batch_offsets"])[0]
        total, count = 0.0, 0
        for i in batch[self.kept[batch]]:
            logp, entropy = self.terms(self.policy, i)
            ratio, a, c = np.exp(logp - self.old[i]), self.advantages[i], self.o["clip_range_policy"]
            total += np.maximum(-a * ratio, -a * np.clip(ratio, 1 - c, 1 + c)).sum()
            total -= self.o["entropy_coef"] * entropy.sum()
            count += len(logp)
        return {"policy_gradient": total / count}

    def value_loss(self):
        batch = split(self.g["value_batch_index"], self.g["value_batch_offsets"])[0]
        total, count = 0.0, 0
        for i in batch:
            v, c = self.value.values(self.ids[i])[self.span(i)], self.o["clip_range_value"]
            old, r = self.old_values[i], self.returns[i]
            total += 0.5 * np.maximum((v - r) ** 2, (np.clip(v, old - c, old + c) - r) ** 2).sum()
            count += len(v)
        return {"value_gradient": total / count}

    def steps(self, check):
        g, o = self.g, self.o
        check.close("loss", "policy", self.policy_loss()["policy_gradient"], g["policy_total_loss"][0], VALUE_TOLERANCE)
        check.close("loss", "value", self.value_loss()["value_gradient"], g["value_loss"][0], VALUE_TOLERANCE)
        for kind, f, m in (("policy_gradient", self.policy_loss, self.policy),
                           ("value_gradient", self.value_loss, self.value)):
            stored = part(g, kind)
            check.gradient(kind, f, m, stored, GRADIENT_TOLERANCE)
            norm = math.sqrt(sum((x * x).sum() for x in stored.values()))
            check.close("norm", kind, norm, g[kind.replace("gradient", "grad_norm")][0], VALUE_TOLERANCE)
            if self.number == 1 and len(g[kind.replace("gradient", "grad_norm")]) == 1:
                for name, x in stored.items():
                    x = x * min(1, o["max_grad_norm"] / (norm + 1e-6))
                    w = m.w[name] * (1 - o["learning_rate"] * o["weight_decay"] * (x.ndim > 1))
                    w = w - o["learning_rate"] * x / (np.abs(x) + o["eps"])  # Adam's first step, bias corrected
                    check.close("update", name, w, g[f"policy_weights/{name}"], UPDATE_TOLERANCE)
        for kind, parts in (("policy", o["ppo_steps_per_epoch"]), ("value", o["value_steps_per_epoch"])):
            batches = split(g[f"{kind}_batch_index"], g[f"{kind}_batch_offsets"])
            n, size = len(self.rows), len(self.rows) // parts
            sizes = ([size] * (parts - 1) + [n - size * (parts - 1)]) * o[f"{kind}_epochs"]
            check.close("batches", kind, [len(b) for b in batches], np.array(sizes), 0)
            check.close("batches", kind, np.concatenate(batches[:parts]), np.arange(n), 0)
            for e in range(o[f"{kind}_epochs"]):
                seen = np.sort(np.concatenate(batches[e * parts:(e + 1) * parts]))
                check.close("batches", kind, seen, np.arange(n), 0)


def check_ppo(out, name):
    with safe_open(out / f"{name}.safetensors", "numpy") as f:
        options = json.loads(f.metadata()["options"])
    golden, check = load_file(out / f"{name}.safetensors"), Checks(name)
    for number in range(1, options["iterations"] + 1):
        replay = Replay(out, golden, options, number)
        replay.rollout(check)
        replay.steps(check)
    return check.report()


def check_reward(out):
    g, check = load_file(out / "reward-training.safetensors"), Checks("reward-training")
    m, lists = Model(out / "reward", g), g["list_offsets"]

    def gaps():
        s = [m.values(ids)[-1] for ids in split(g["ids"], g["offsets"])]
        return [np.array([s[i] - s[j] for i in range(a, b) for j in range(i + 1, b)]) for a, b in zip(lists, lists[1:])]

    def loss():
        return {"gradient": np.mean([np.log1p(np.exp(-x)).mean() for x in gaps()])}

    found = gaps()
    for name, ours in {"loss": loss()["gradient"], "list_losses": [np.log1p(np.exp(-x)).mean() for x in found],
                       "accuracy_lists": np.mean([(x > 0).mean() for x in found]),
                       "accuracy_pairs": (np.concatenate(found) > 0).mean(),
                       "margin_lists": np.mean([x.mean() for x in found]),
                       "margin_pairs": np.concatenate(found).mean()}.items():
        check.close("values", name, ours, g[name], VALUE_TOLERANCE)
    check.gradient("gradient", loss, m, part(g, "gradient"), GRADIENT_TOLERANCE)
    return check.report()


def check_sft(out):
    g, check = load_file(out / "sft.safetensors"), Checks("sft")
    m = Model(out / "policy", g)

    def logp():
        return np.concatenate([m.log_probs(ids)[0][p - 1:] for ids, p in zip(split(g["ids"], g["offsets"]),
                                                                           g["prompt_lengths"])])

    check.close("values", "logp", logp(), g["logp"], VALUE_TOLERANCE)
    check.close("values", "loss", -logp().mean(), g["loss"], VALUE_TOLERANCE)
    check.gradient("gradient", lambda: {"gradient": -logp().mean()}, m, part(g, "gradient"), GRADIENT_TOLERANCE)
    return check.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "internal/rlhf/testdata/golden")
    out = parser.parse_args().out
    failed = check_ppo(out, "ppo-card") + check_ppo(out, "ppo-options") + check_reward(out) + check_sft(out)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
