"""One batch of reward-model training and one of supervised fine-tuning: loss, metrics and every gradient in float64."""
import torch

from falcon_model import gradients, load, log_probs, logits, pack, rotary_tables, values, watch_rotary, write

LISTS = ((6, (4, 7)), (11, (9, 1, 5)), (3, (2, 12)), (8, (6, 3, 10, 1)))  # prompt tokens, response tokens best first
SAMPLES = ((5, 9), (14, 1), (2, 20))                                      # prompt tokens, response tokens


def start(out, folder, head):
    model = load(out / folder, head)
    tables = rotary_tables(model)
    watch_rotary(model, tables)
    return model, dict(zip(("rotary_cos", "rotary_sin"), tables))


def text(model, count, draw, eod):
    """Random ids without EOD."""
    return torch.randint(eod + 1, model.config.vocab_size, (count,), generator=draw)


def reward_golden(out, command, seed, eod):
    """Bradley-Terry over all pairs of each list; a pair is a list of two."""
    model, tensors = start(out, "reward", "score")
    draw = torch.Generator().manual_seed(seed)
    sequences, bounds = [], [0]
    for prompt_length, lengths in LISTS:
        prompt = text(model, prompt_length, draw, eod)
        sequences += [torch.cat([prompt, text(model, n, draw, eod), torch.tensor([eod])]) for n in lengths]
        bounds.append(len(sequences))
    scores = torch.stack([values(model, s)[-1] for s in sequences])
    losses, right, margins = [], [], []
    for a, b in zip(bounds, bounds[1:]):
        gaps = torch.stack([scores[i] - scores[j] for i in range(a, b) for j in range(i + 1, b)])
        losses.append(-torch.nn.functional.logsigmoid(gaps).mean())
        right.append((gaps > 0).double())
        margins.append(gaps.detach())
    loss = torch.stack(losses).mean()
    loss.backward()
    tensors["ids"], tensors["offsets"] = pack(sequences)
    tensors |= {
        "list_offsets": torch.tensor(bounds, dtype=torch.int32),
        "scores": scores, "list_losses": torch.stack(losses), "loss": loss.reshape(1),
        "accuracy_lists": torch.stack([r.mean() for r in right]).mean().reshape(1),
        "accuracy_pairs": torch.cat(right).mean().reshape(1),
        "margin_lists": torch.stack([m.mean() for m in margins]).mean().reshape(1),
        "margin_pairs": torch.cat(margins).mean().reshape(1),
    }
    tensors |= {f"gradient/{k}": g for k, g in gradients(model).items()}
    write(out / "reward-training.safetensors", tensors, seed, command=command)
    print(f"  loss {loss:.6f}, accuracy {tensors['accuracy_lists'].item():.3f} {tensors['accuracy_pairs'].item():.3f}")


def sft_golden(out, command, seed, eod):
    """Mean of -log p over the response tokens of the batch, EOD included."""
    model, tensors = start(out, "policy", "language")
    draw = torch.Generator().manual_seed(seed)
    sequences = [torch.cat([text(model, p + n - 1, draw, eod), torch.tensor([eod])]) for p, n in SAMPLES]
    logp = torch.cat([log_probs(logits(model, s)[p - 1:-1], s[p:])[0] for s, (p, _) in zip(sequences, SAMPLES)])
    loss = -logp.mean()
    loss.backward()
    tensors["ids"], tensors["offsets"] = pack(sequences)
    tensors |= {"prompt_lengths": torch.tensor([p for p, _ in SAMPLES], dtype=torch.int32), "logp": logp,
                "loss": loss.reshape(1)}
    tensors |= {f"gradient/{k}": g for k, g in gradients(model).items()}
    write(out / "sft.safetensors", tensors, seed, command=command)
    print(f"  loss {loss:.6f} over {len(logp)} tokens")
