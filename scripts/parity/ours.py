"""ours -> theirs: models that alfred made, trained and exported, loaded and run by transformers."""
import json
import shutil

import torch
from transformers import AutoTokenizer

import falcon_model
import reference
import shapes
from checks import relative
from command import float32
from theirs import FLOAT32, check_config, check_loading

TOKENIZER = falcon_model.ROOT / "internal/tokenizer/testdata/small.tokenizer.json"
ENTRIES, EOD = 1001, 1000  # of this tokenizer
TEXTS = ("Hello there.", "", " two  spaces\n\n\ttabs ", "don't, we'll; I'M", "naïve Straße 東京 🙂 ﬁ",
         "x" * 40 + "123456", "\u00a0\u3000\u2028", "a<|endoftext|>b <|end")
WORDS = ("red green blue seven eight nine apple pear plum the a of and runs walks sleeps quickly why because 12 345 "
         "! ?").split()

STEPS = 3
# eps is far above the rounding noise of a gradient's elements: with 1e-8, one that is nearly zero makes a step of the
# noise's sign.
OPTIMIZER = dict(learning_rate=2e-3, betas=(0.9, 0.95), eps=1e-3, max_grad_norm=1.0)
# At bfloat16 nothing is compared element by element, but steps must be seen: near 1 what is below 2^-8 may vanish.
LARGE_STEPS = dict(learning_rate=1e-2, eps=1e-8)
LOSS = 1e-5    # losses in float32 against float64: |a - b| <= 1e-5 |b| + 1e-5
UPDATE = 1e-4  # of a tensor, L2: |update - expected| <= 1e-4 |expected| + STEPS 2^-24 |weights|. The first is ten times
#                what a gradient may be off by, the second what float32 weights may lose at each step.
# A gradient that is truly zero leaves nothing to compare: that of the key part of a bias where positions are not
# rotated, and of the last norm's bias where only differences of scores count.
NO_GRADIENT = ("query_key_value.bias", "ln_f.bias")
# Keys of config.json that training adds, and those in which a score head differs from a language model.
ROLE = ("alfred_role",)
SCORE = ("architectures", "pad_token_id", "id2label", "label2id", "num_labels", "alfred_reward_gain",
         "alfred_reward_bias")


def models(checks, alfred, form, number, seed):
    """A new language model, what the three stages make of it, and a new score model."""
    draw = shapes.generator(seed, "ours", form, number)
    name, new = f"ours {form} {number}", ("float32", "bfloat16")[number % 2]
    base = new_model(checks, alfred, name, form, "language", new, draw)
    checks.attempt("tokenizer", tokenizer, checks, alfred, base)
    for dtype, tensor in (("float32", 1), ("float32", 2), ("bfloat16", 2)):
        checks.start(f"{name}, fine-tuned, {dtype}, tensor {tensor}")
        checks.attempt("sft", fine_tuned, checks, alfred, base, dtype, tensor, draw)
    for dtype, tensor in (("bfloat16", 1), ("float32", 2)):
        checks.start(f"{name}, reward model, {dtype}, tensor {tensor}")
        reward = checks.attempt("reward", reward_model, checks, alfred, base, dtype, tensor, draw)
    checks.start(f"{name}, PPO, float32, tensor {1 + number % 2}")
    checks.attempt("ppo", ppo, checks, alfred, base, reward, 1 + number % 2, draw)
    new_model(checks, alfred, f"{name} score", form, "score", new, draw)


def new_model(checks, alfred, name, form, head, dtype, draw):
    """init-model with a configuration that transformers wrote; returns the directory."""
    config = shapes.config(form, draw, kv_heads=(1, 2, 4), vocab_size=shapes.odd_vocabulary(draw, ENTRIES + 1, 1300),
                           tie_word_embeddings=draw.random() < 0.5, eos_token_id=EOD,
                           architectures=[falcon_model.HEADS[head].__name__],
                           **({"num_labels": 1} if head == "score" else {}))
    config.initializer_range = round(1.2 / config.hidden_size ** 0.5, 4)  # no layer vanishes, none magnifies rounding
    checks.start(f"{name}, new: {shapes.describe(config)}, {dtype}")
    directory = alfred.directory / name.replace(" ", "-")
    given = alfred.directory / f"{directory.name}-config"
    config.save_pretrained(given)
    shutil.copy(TOKENIZER, given / "tokenizer.json")
    if draw.random() < 0.5:  # what transformers keeps beside the tokenizer is copied along
        about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
        (given / "tokenizer_config.json").write_text(json.dumps(about))
    files = draw.choice((given, given / "tokenizer.json"))
    alfred.run("init-model", "--config", given / "config.json", "--tokenizer", files, "--seed", draw.randrange(100),
               "--precision", dtype, "--out", directory)
    check_config(checks, given, directory, but=("dtype", *(["pad_token_id"] if head == "score" else [])))
    checks.attempt("init-model", same_numbers, checks, alfred, directory, directory, head, dtype, draw)
    return directory


def same_numbers(checks, alfred, source, exported, head, dtype, draw, *flags):
    """What alfred computes from source, which may be a run, is what transformers computes from its export."""
    check_loading(checks, exported, head, dtype)
    model, _ = reference.open_model(exported, head)
    sequences = shapes.sequences(model.config, draw)
    if head == "language":
        ours, theirs = alfred.log_probs(source, sequences, *flags), reference.log_probs(model, sequences)
        checks.at_most("log-probs, float32 against float64", relative(ours, theirs), FLOAT32, f"{len(theirs)} tokens")
        return
    sequences = [ids[:-1] + [EOD] for ids in sequences]
    lines = alfred.score(source, sequences, *flags)
    raw, theirs = float32([x["raw"] for x in lines]), reference.scores(model, sequences)
    checks.at_most("scores at EOD, float32 against float64", relative(raw, theirs), FLOAT32,
                   f"{min(raw):.3f} to {max(raw):.3f}")
    pad = model.config.pad_token_id
    checks.none_of("padding token that no text contains", [] if pad is not None and pad >= ENTRIES else [pad], 1,
                   f"{pad}, EOD {EOD}")
    checks.at_most("scores in one padded batch", relative(raw, reference.padded_scores(model, sequences)), FLOAT32)
    if not hasattr(model.config, "alfred_reward_gain"):
        checks.none_of("score is raw without a gain", [x["id"] for x in lines if x["raw"] != x["score"]], len(lines))
    else:  # computed in float64 from the raw float32
        gain, bias = model.config.alfred_reward_gain, model.config.alfred_reward_bias
        error = relative([x["score"] for x in lines], [gain * x + bias for x in raw])
        checks.at_most("score = gain raw + bias", error, 1e-12, f"{gain:.3f}, {bias:.3f}")


def tokenizer(checks, alfred, directory):
    """AutoTokenizer loads what was copied along, in a new model and in its export."""
    for where in (directory, alfred.export(directory, f"{directory}-export")):
        theirs = AutoTokenizer.from_pretrained(where)
        expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        ours = alfred.tokenize(where, TEXTS, "--special")
        wrong = [f"{t!r}: {a} {b}" for t, a, b in zip(TEXTS, ours, expected) if a != b]
        known = (where / "tokenizer_config.json").exists()
        if known and theirs.eos_token_id != EOD:
            wrong.append(f"EOD {theirs.eos_token_id}")
        checks.none_of("AutoTokenizer: ids" + known * ", EOD", wrong, len(TEXTS) + known)


def text(draw):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 12)))


def train(alfred, stage, name, tensor, source, rows, **more):
    """Runs a stage on rows. Returns the run and the lines of its metrics."""
    data = alfred.directory / f"{name}.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return alfred.train({
        "stage": stage, "run": {"name": name, "dir": str(alfred.directory / name)}, "parallel": {"tensor": tensor},
        "data_root": str(alfred.directory), "data": [{"source": source, "path": data.name}],
        "checkpoint": {"every": STEPS}, "log": {"tensorboard": False}, **more})


def train_on_all(alfred, stage, model, base, dtype, tensor, source, rows, **more):
    """STEPS steps of sft or reward, each on all rows. Returns the run and the loss before each step."""
    optimizer = OPTIMIZER | (LARGE_STEPS if dtype == "bfloat16" else {})
    run, metrics = train(
        alfred, stage, f"{base.name}-{stage}-{dtype}-{tensor}", tensor, source, rows, **more,
        model={model: str(base), "precision": dtype}, batching={"micro_batch_tokens": 256},
        optimizer=optimizer | {"warmup_steps": 0, "decay": "constant"},
        trainer={"global_batch": len(rows), "max_steps": STEPS, "max_len": 128, "eval_share": 0.0})
    return run, [m["loss"] for m in metrics]


def check_training(checks, losses, model, loss, exported):
    """Torch takes the same steps from the same start in float64: the losses on the way, and what the steps changed."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = reference.descend(model, loss, STEPS, **OPTIMIZER)
    checks.at_most("losses against torch, float64", relative(losses, expected), LOSS,
                   f"{expected[0]:.4f} to {expected[-1]:.4f}")
    after, names, errors = reference.tensors(exported), [], []
    for name, p in model.named_parameters():
        if not name.endswith(NO_GRADIENT):
            p = p.detach()
            error = (after[name].double() - p).norm() - STEPS * 2**-24 * p.norm()
            names.append(name)
            errors.append(error.clamp(min=0) / (p - before[name]).norm())
    worst = torch.stack(errors).max(0)
    checks.at_most("updates against torch, per tensor", worst.values.item(), UPDATE, names[worst.indices])


def check_changed(checks, start, exported, dtype):
    """Training has changed every tensor, also at bfloat16, where small steps vanish in the rounding."""
    before, after = reference.tensors(start), reference.tensors(exported)
    names = [n for n in before if n in after and not n.endswith(NO_GRADIENT)]
    same = [n for n in names if torch.equal(before[n].to(getattr(torch, dtype)), after[n])]
    checks.none_of("trained: tensors as before", same, len(names))


def fine_tuned(checks, alfred, base, dtype, tensor, draw):
    rows = [{"prompt": text(draw), "response": " " + text(draw)} for _ in range(8)]
    run, losses = train_on_all(alfred, "sft", "policy", base, dtype, tensor, "prompts", rows)
    exported = alfred.export(run, f"{run}-export", "--model", "policy")
    same_numbers(checks, alfred, run, exported, "language", dtype, draw)
    check_config(checks, base, exported, but=("dtype", *ROLE))
    check_changed(checks, base, exported, dtype)
    if tensor == 1:  # one rank's folder in a checkpoint is a whole model
        check_loading(checks, run / "checkpoints" / f"{STEPS:06}" / "policy", "language", dtype)
    if dtype == "float32":
        tok = AutoTokenizer.from_pretrained(base)
        samples = [(tok.encode(r["prompt"]), tok.encode(r["response"]) + [EOD]) for r in rows]
        start, _ = reference.open_model(base, "language")
        check_training(checks, losses, start, reference.response_loss(samples), exported)


def reward_model(checks, alfred, base, dtype, tensor, draw):
    """Returns the run."""
    rows = [{"prompt": text(draw), **{k: f" {i} {text(draw)}" for k in ("chosen", "rejected")}} for i in range(6)]
    run, losses = train_on_all(alfred, "reward", "reward", base, dtype, tensor, "pairs", rows,
                               normalise={"policy": str(base), "samples": 8},
                               trajectory={"continuation_max_len": 16, "prompt_max_len": 64})
    exported = alfred.export(run, f"{run}-export", "--model", "reward")
    same_numbers(checks, alfred, run, exported, "score", dtype, draw)
    check_config(checks, base, exported, but=("dtype", *ROLE, *SCORE))
    check_changed(checks, base, exported, dtype)
    if dtype == "float32":
        tok = AutoTokenizer.from_pretrained(base)
        pairs = [[tok.encode(r["prompt"]) + tok.encode(r[k]) + [EOD] for k in ("chosen", "rejected")] for r in rows]
        start = falcon_model.HEADS["score"].from_pretrained(base, num_labels=1, dtype=torch.float64,
                                                            attn_implementation="sdpa")
        torch.nn.init.zeros_(start.score.weight)
        check_training(checks, losses, start, reference.ranking_loss(pairs), exported)
    return run


def ppo(checks, alfred, base, reward, tensor, draw):
    """One iteration, for the policy and the value model that it leaves behind."""
    optimizer = {"learning_rate": 2e-3, "warmup_steps": 0, "decay": "constant"}
    run, _ = train(
        alfred, "ppo", f"{base.name}-ppo", tensor, "prompts", [{"prompt": text(draw)} for _ in range(8)],
        model={"policy": str(base), "reward": str(reward), "precision": "float32"},
        policy_optimizer=optimizer, value_optimizer=optimizer,
        batching={"micro_batch_tokens": 256, "rollout_slots": 4},
        trainer={"num_rollouts": 8, "max_steps": 1, "value_steps_per_epoch": 2, "eval_share": 0.0},
        trajectory={"continuation_max_len": 16, "prompt_max_len": 64})
    for which, head, start in (("policy", "language", base), ("value", "score", f"{reward}-export")):
        exported = alfred.export(run, f"{run}-export-{which}", "--model", which)
        same_numbers(checks, alfred, run, exported, head, "float32", draw, "--which", which)
        check_config(checks, start, exported, but=("dtype", *ROLE))
        check_changed(checks, start, exported, "float32")
