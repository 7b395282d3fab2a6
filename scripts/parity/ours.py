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
TEXTS = ("Hello there.", "", " two  spaces\n\n\ttabs ", "don't, we'll; I'M", "naïve Straße 東京 🙂 ﬁ", "x" * 40 + "1234567890",
         "a<|endoftext|>b <|end", "\u00a0\u3000\u2028")
WORDS = "red green blue seven eight nine apple pear plum the a of and runs walks sleeps quickly why because 12 345 ! ?".split()

STEPS = 3
# eps is far above the rounding noise of a gradient's elements: with 1e-8, one that is nearly zero makes a step of the noise's sign.
OPTIMIZER = dict(learning_rate=2e-3, betas=(0.9, 0.95), eps=1e-3, max_grad_norm=1.0)
# At bfloat16, where nothing is compared element by element, each step must be seen: near 1 what is below 2^-8 may vanish.
LARGE_STEPS = dict(learning_rate=1e-2, eps=1e-8)
LOSS = 1e-5    # losses in float32 against float64: |a - b| <= 1e-5 |b| + 1e-5
UPDATE = 1e-4  # of a tensor, L2: |update - expected| <= 1e-4 |expected|, ten times what its gradient may be off by,
#                + 2^-24 |weights| for each step, which float32 weights may lose
# A gradient that is truly zero leaves nothing to compare: that of the key part of a bias where positions are not rotated, and of the
# last norm's bias where only differences of scores count.
NO_GRADIENT = ("query_key_value.bias", "ln_f.bias")

# Keys of config.json that training adds, and those in which a score head differs from a language model.
ALFRED = ("alfred_role",)
SCORE = ("architectures", "pad_token_id", "id2label", "label2id", "num_labels", "alfred_reward_gain", "alfred_reward_bias")


def form(checks, alfred, form, number, seed):
    draw = shapes.generator(seed, "ours", form, number)
    new = ("float32", "bfloat16")[number % 2]
    base = new_model(checks, alfred, f"ours-{form}-{number}", form, "language", new, draw)
    checks.attempt("tokenizer", tokenizer, checks, alfred, base, draw)
    for type_, tensor in (("float32", 1), ("float32", 2), ("bfloat16", 2)):
        checks.start(f"ours {form} {number}, fine-tuned, {type_}, tensor {tensor}")
        checks.attempt("sft", fine_tuned, checks, alfred, base, type_, tensor, draw)
    for type_, tensor in (("bfloat16", 1), ("float32", 2)):
        checks.start(f"ours {form} {number}, reward model, {type_}, tensor {tensor}")
        reward = checks.attempt("reward", reward_model, checks, alfred, base, type_, tensor, draw)
    tensor = 1 + number % 2
    checks.start(f"ours {form} {number}, PPO, float32, tensor {tensor}")
    checks.attempt("ppo", ppo, checks, alfred, base, reward, tensor, draw)
    new_model(checks, alfred, f"ours-{form}-{number}-score", form, "score", new, draw)


def new_model(checks, alfred, name, form, head, type_, draw):
    """init-model with a configuration that transformers wrote; returns the directory."""
    config = shapes.config(form, draw, kv_heads=(1, 2, 4), vocab_size=draw.choice([v for v in range(ENTRIES + 1, 1300) if v % 64]),
                           tie_word_embeddings=draw.random() < 0.5, bos_token_id=None, eos_token_id=EOD,
                           architectures=[falcon_model.HEADS[head].__name__], **({"num_labels": 1} if head == "score" else {}))
    config.initializer_range = round(1.2 / config.hidden_size ** 0.5, 4)  # every layer matters, and none magnifies rounding
    checks.start(f"{name.replace('-', ' ')}, new: {shapes.describe(config)} {'tied' if config.tie_word_embeddings else 'untied'} {type_}")
    given, directory = alfred.directory / f"{name}-config", alfred.directory / name
    config.save_pretrained(given)
    shutil.copy(TOKENIZER, given / "tokenizer.json")
    (given / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}))
    alfred.run("init-model", "--config", given / "config.json", "--tokenizer", draw.choice((given, given / "tokenizer.json")),
               "--seed", draw.randrange(100), "--precision", type_, "--out", directory)
    check_config(checks, given, directory, but=("dtype", *(["pad_token_id"] if head == "score" else [])))
    checks.attempt("init-model", same_numbers, checks, alfred, directory, directory, head, type_, draw)
    return directory


def same_numbers(checks, alfred, source, exported, head, type_, draw, *flags):
    """What alfred computes from source, which may be a run, is what transformers computes from the exported directory."""
    check_loading(checks, exported, head, type_)
    model, _ = reference.open_model(exported, head)
    sequences = shapes.sequences(model.config, draw)
    if head == "language":
        ours, theirs = alfred.log_probs(source, sequences, *flags), reference.log_probs(model, sequences)
        checks.at_most("log-probs, float32 against float64", relative(ours, theirs), FLOAT32, f"{len(theirs)} tokens")
        return
    sequences = [ids[:-1] + [EOD] for ids in sequences]
    lines = alfred.score(source, sequences, *flags)
    raw, theirs = float32([x["raw"] for x in lines]), reference.scores(model, sequences)
    checks.at_most("scores at EOD, float32 against float64", relative(raw, theirs), FLOAT32, f"{min(raw):.3f} to {max(raw):.3f}")
    pad = model.config.pad_token_id
    checks.none_of("the padding token is another than EOD", [pad] if pad is None or pad < ENTRIES else [], 1, f"({pad}, EOD {EOD})")
    checks.at_most("scores in one padded batch", relative(raw, reference.padded_scores(model, sequences)), FLOAT32)
    gain, bias = (getattr(model.config, f"alfred_reward_{x}", default) for x, default in (("gain", 1.0), ("bias", 0.0)))
    scores = [x["score"] for x in lines]
    if (gain, bias) == (1, 0):
        scores = float32(scores)
    checks.at_most("score = gain raw + bias, float64", relative(scores, [gain * x + bias for x in raw]), 1e-12, f"{gain:.3f}, {bias:.3f}")


def tokenizer(checks, alfred, directory, draw):
    """AutoTokenizer loads what was copied along, in a new model and in its export."""
    for where in (directory, alfred.export(directory, f"{directory}-export")):
        theirs = AutoTokenizer.from_pretrained(where)
        expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        ours = alfred.tokenize(where, TEXTS, "--special")
        wrong = [f"{t!r}: {a} {b}" for t, a, b in zip(TEXTS, ours, expected) if a != b]
        if theirs.eos_token_id != EOD:
            wrong.append(f"EOD {theirs.eos_token_id}")
        checks.none_of("AutoTokenizer: ids, EOD", wrong, len(TEXTS) + 1)


def text(draw, most):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))


def train(alfred, stage, name, rows, source, tensor, **more):
    """Runs a stage on rows. Returns the run and the lines of its metrics."""
    data = alfred.directory / f"{name}.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return alfred.train({
        "stage": stage, "run": {"name": name, "dir": str(alfred.directory / name)}, "parallel": {"tensor": tensor},
        "data_root": str(alfred.directory), "data": [{"source": source, "path": data.name}],
        "checkpoint": {"every": STEPS}, "log": {"tensorboard": False}, **more})


def train_on_all(alfred, stage, name, rows, source, tensor, model, **more):
    """Runs STEPS steps of sft or reward, each on all rows. Returns the run and the loss before each step."""
    run, metrics = train(alfred, stage, name, rows, source, tensor, model=model, **more, batching={"micro_batch_tokens": 256},
                         optimizer=OPTIMIZER | {"warmup_steps": 0, "decay": "constant"} | (LARGE_STEPS if model["precision"] == "bfloat16" else {}),
                         trainer={"global_batch": len(rows), "max_steps": STEPS, "max_len": 128, "eval_share": 0.0})
    return run, [m["loss"] for m in metrics]


def check_training(checks, losses, model, loss, exported):
    """Torch takes the same steps from the same start in float64: the losses on the way, and what the steps changed."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = reference.descend(model, loss, STEPS, **OPTIMIZER)
    checks.at_most("losses against torch, float64", relative(losses, expected), LOSS, f"{expected[0]:.4f} to {expected[-1]:.4f}")
    after, names, errors = reference.tensors(exported), [], []
    for name, p in model.named_parameters():
        if not name.endswith(NO_GRADIENT):
            names.append(name)
            error = (after[name].double() - p.detach()).norm() - STEPS * 2**-24 * p.norm()
            errors.append(error.detach().clamp(min=0) / (p.detach() - before[name]).norm())
    worst = torch.stack(errors).max(0)
    checks.at_most("updates against torch, per tensor", worst.values.item(), UPDATE, names[worst.indices])


def check_changed(checks, start, exported, type_):
    """Training has changed every tensor, also at bfloat16, where small steps vanish in the rounding."""
    before, after = reference.tensors(start), reference.tensors(exported)
    names = [n for n in before if n in after and not n.endswith(NO_GRADIENT)]
    checks.none_of("trained: tensors as before", [n for n in names if torch.equal(before[n].to(getattr(torch, type_)), after[n])], len(names))


def fine_tuned(checks, alfred, base, type_, tensor, draw):
    rows = [{"prompt": text(draw, 12), "response": " " + text(draw, 12)} for _ in range(8)]
    run, losses = train_on_all(alfred, "sft", f"{base.name}-sft-{type_}-{tensor}", rows, "prompts", tensor, {"policy": str(base), "precision": type_})
    exported = alfred.export(run, f"{run}-export", "--model", "policy")
    same_numbers(checks, alfred, run, exported, "language", type_, draw)
    check_config(checks, base, exported, but=("dtype", *ALFRED))
    check_changed(checks, base, exported, type_)
    if tensor == 1:  # one rank's folder in a checkpoint is a whole model
        check_loading(checks, run / "checkpoints" / f"{STEPS:06}" / "policy", "language", type_)
    if type_ == "float32":
        tok = AutoTokenizer.from_pretrained(base)
        samples = [(tok.encode(r["prompt"]), tok.encode(r["response"]) + [EOD]) for r in rows]
        check_training(checks, losses, reference.open_model(base, "language")[0], reference.response_loss(samples), exported)


def reward_model(checks, alfred, base, type_, tensor, draw):
    """Returns the run."""
    rows = [{"prompt": text(draw, 12), "chosen": f" {i} " + text(draw, 12), "rejected": f" {i} " + text(draw, 12)} for i in range(6)]
    run, losses = train_on_all(alfred, "reward", f"{base.name}-reward-{type_}-{tensor}", rows, "pairs", tensor, {"reward": str(base), "precision": type_},
                               trajectory={"continuation_max_len": 16, "prompt_max_len": 64}, normalise={"policy": str(base), "samples": 8})
    exported = alfred.export(run, f"{run}-export", "--model", "reward")
    same_numbers(checks, alfred, run, exported, "score", type_, draw)
    check_config(checks, base, exported, but=("dtype", *ALFRED, *SCORE))
    check_changed(checks, base, exported, type_)
    if type_ == "float32":
        tok = AutoTokenizer.from_pretrained(base)
        pairs = [tuple(tok.encode(r["prompt"]) + tok.encode(r[k]) + [EOD] for k in ("chosen", "rejected")) for r in rows]
        start = falcon_model.HEADS["score"].from_pretrained(base, num_labels=1, dtype=torch.float64, attn_implementation="sdpa")
        torch.nn.init.zeros_(start.score.weight)
        check_training(checks, losses, start, reference.ranking_loss(pairs), exported)
    return run


def ppo(checks, alfred, base, reward, tensor, draw):
    """One iteration, for the value model and the policy that it leaves behind."""
    optimizer = {"learning_rate": 2e-3, "warmup_steps": 0, "decay": "constant"}
    run, _ = train(alfred, "ppo", f"{base.name}-ppo", [{"prompt": text(draw, 12)} for _ in range(8)], "prompts", tensor,
                   model={"policy": str(base), "reward": str(reward), "precision": "float32"}, policy_optimizer=optimizer, value_optimizer=optimizer,
                   batching={"micro_batch_tokens": 256, "rollout_slots": 4},
                   trainer={"num_rollouts": 8, "max_steps": 1, "value_steps_per_epoch": 2, "eval_share": 0.0},
                   trajectory={"continuation_max_len": 16, "prompt_max_len": 64})
    for which, head, start in (("policy", "language", base), ("value", "score", f"{reward}-export")):
        exported = alfred.export(run, f"{run}-export-{which}", "--model", which)
        same_numbers(checks, alfred, run, exported, head, "float32", draw, "--which", which)
        check_config(checks, start, exported, but=("dtype", *ALFRED))
        check_changed(checks, start, exported, "float32")
