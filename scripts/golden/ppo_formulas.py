"""PPO for language models in a few float64 formulas; README.md states each in words.

A response has tokens t = 1..T. logp_t, value V_t and reward r_t belong to the state before token t; V_{T+1} = 0.
"""
import torch


def kl_penalty(logp, ref_logp, kind):
    d = logp - ref_logp
    return {"k1": d, "k2": d * d / 2, "k3": torch.exp(-d) - 1 + d}[kind]


def advantages(rewards, values, gamma, gae_lambda):
    """Generalised advantage estimation (Schulman et al. 2016, equation 16); the response ends in a terminal state."""
    out, later, following = torch.zeros_like(values), 0.0, 0.0
    for t in reversed(range(len(values))):
        later = rewards[t] + gamma * following - values[t] + gamma * gae_lambda * later
        following = values[t]
        out[t] = later
    return out


def whiten(x, counted, shift_mean):
    """(x - mean) / sqrt(var + 1e-8), population variance; the statistics see only the counted tokens."""
    mean = x[counted].mean()
    y = (x - mean) * torch.rsqrt(((x[counted] - mean) ** 2).mean() + 1e-8)
    return y if shift_mean else y + mean


def policy_terms(logp, old, advantage, clip):
    """Loss per token, whether the clipped branch is the larger one, and the probability ratio."""
    ratio = torch.exp(logp - old)
    plain, clipped = -advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)
    return torch.max(plain, clipped), clipped > plain, ratio


def value_terms(v, old, returns, clip):
    """Loss per token with its factor 0.5, and whether the clipped branch is the larger one."""
    plain, clipped = (v - returns) ** 2, (v.clamp(old - clip, old + clip) - returns) ** 2
    return 0.5 * torch.max(plain, clipped), clipped > plain


def self_test():
    """One response worked out by hand: kl_coef 0.01, gamma 1, lambda 0.95, score 0.8 paid at the last token."""
    def near(x, *expected):
        error = (x - torch.tensor(expected, dtype=torch.float64)).abs().max()
        assert error < 1e-6, error

    logp, ref, v = torch.tensor([[-1.0, -2.0, -0.5, -1.5], [-1.2, -1.7, -0.5, -1.0], [0.1, 0.2, 0.3, 0.4]],
                                dtype=torch.float64)
    near(kl_penalty(logp, ref, "k2"), 0.02, 0.045, 0, 0.125)
    near(kl_penalty(logp, ref, "k3"), 0.0187308, 0.0498588, 0, 0.1487213)
    rewards = -0.01 * kl_penalty(logp, ref, "k1")
    rewards[-1] += 0.8
    near(rewards, -0.002, 0.003, 0, 0.805)
    a = advantages(rewards, v, 1.0, 0.95)
    near(a, 0.63333687, 0.5635125, 0.48475, 0.405)
    near(whiten(a, torch.ones(4, dtype=torch.bool), True), 1.307303, 0.490005, -0.431915, -1.365393)
    zero = torch.zeros(4, dtype=torch.float64)
    near(advantages(zero + torch.tensor([0, 0, 1, 0]), torch.arange(4.0).double(), 0.5, 0.0), 0.5, 0, 0.5, -3)
