"""What transformers computes: log-probs, scores, greedy continuations, and a few steps of training."""
import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import falcon_model

AUTO = {"language": AutoModelForCausalLM, "score": AutoModelForSequenceClassification}


def open_model(directory, head, dtype=torch.float64):
    """Loads a directory as a user would: no code of its own, the class by its config.json.

    Returns the model and a list of what transformers found missing, unexpected or mismatched.
    """
    model, info = AUTO[head].from_pretrained(directory, dtype=dtype, attn_implementation="sdpa",
                                             output_loading_info=True)
    wrong = [f"{kind}: {key}" for kind, keys in info.items() for key in keys]
    if type(model) is not falcon_model.HEADS[head]:
        wrong.append(f"class {type(model).__name__}")
    return model.eval(), wrong


@torch.no_grad()
def log_probs(model, sequences, temperature=1.0):
    """The log-probs of all tokens but the first of each sequence, in one tensor."""
    out = []
    for ids in map(torch.tensor, sequences):
        out.append(falcon_model.log_probs(falcon_model.logits(model, ids)[:-1] / temperature, ids[1:])[0])
    return torch.cat(out)


def response_log_probs(model, prompts, responses, temperature=1.0):
    """The log-probs of responses to prompts, in one tensor."""
    return torch.cat([log_probs(model, [p + r], temperature)[len(p) - 1:] for p, r in zip(prompts, responses)])


@torch.no_grad()
def scores(model, sequences):
    """Each sequence alone, pooled by the class itself."""
    return torch.cat([model(torch.tensor([s]), use_cache=False).logits[:, 0] for s in sequences])


@torch.no_grad()
def padded_scores(model, sequences):
    """All sequences in one batch, padded on the right with the model's own padding token."""
    length = max(map(len, sequences))
    ids = torch.tensor([s + [model.config.pad_token_id] * (length - len(s)) for s in sequences])
    mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in sequences])
    return model(ids, attention_mask=mask, use_cache=False).logits[:, 0]


@torch.no_grad()
def greedy(model, prompt, new_tokens):
    """The continuation by transformers' own generation, and the gap between the two best logits at each token."""
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens,
                         eos_token_id=model.config.eos_token_id, pad_token_id=0)[0]
    best = falcon_model.logits(model, out)[len(prompt) - 1:-1].topk(2).values
    return out[len(prompt):].tolist(), (best[:, 0] - best[:, 1]).tolist()


def tensors(directory):
    """The stored tensors of a directory: name -> tensor, as they are in the files."""
    out = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                assert name not in out, f"{name} is stored twice"
                out[name] = file.get_tensor(name)
    return out


def digests(tensors):
    """name -> type, shape and SHA-256 of the bytes."""
    def digest(t):
        return hashlib.sha256(t.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return {name: (t.dtype, t.shape, digest(t)) for name, t in tensors.items()}


def response_loss(samples):
    """Supervised fine-tuning on (prompt ids, response ids): the mean of -log p over all response tokens."""
    tokens = sum(len(response) for _, response in samples)

    def loss(model):
        total = 0.0
        for prompt, response in samples:
            ids = torch.tensor(prompt + response)
            rows = falcon_model.logits(model, ids)[len(prompt) - 1:-1]
            total -= falcon_model.log_probs(rows, ids[len(prompt):])[0].sum()
        return total / tokens
    return loss


def ranking_loss(pairs):
    """Reward training on (chosen ids, rejected ids): the mean of -log sigmoid(chosen - rejected) at the last tokens."""
    def score(model, ids):
        return falcon_model.values(model, torch.tensor(ids))[-1]
    return lambda model: -torch.stack([logsigmoid(score(model, a) - score(model, b)) for a, b in pairs]).mean()


def descend(model, loss, steps, learning_rate, betas, eps, max_grad_norm):
    """AdamW steps with clipping; returns the losses before each of them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=betas, eps=eps, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        losses.append(value.item())
    return losses
