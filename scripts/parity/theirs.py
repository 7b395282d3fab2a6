"""theirs -> ours: models that transformers wrote, read, run and written back by alfred."""
import json

import torch
from transformers import AutoConfig

import falcon_model
import reference
import shapes
from checks import distance, relative
from command import float32

FLOAT32 = 1e-5  # log-probs and scores in float32 against float64: |a - b| <= 1e-5 |b| + 1e-5
PLAIN = 2       # log-probs in bfloat16, L2 over all tokens: at most twice the error of plain bfloat16 torch
MARGIN = 1e-4   # greedy tokens count while the two best logits are further apart: ten times the float32 error


def write(directory, config, head, dtype, sharded, seed):
    """Writes a random model as a user of transformers would, and returns how many files its weights fill."""
    model = falcon_model.HEADS[head](config).float()
    falcon_model.randomize(model, seed)
    with torch.no_grad():  # logits as large as at D = 64 and not more: errors of log-probs are in proportion to them
        for w in {model.get_input_embeddings().weight, *([model.lm_head.weight] if head == "language" else [])}:
            w.mul_(min(1, 8 / config.hidden_size ** 0.5))
    model = model.to(getattr(torch, dtype))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(directory, max_shard_size=size // 3 if sharded else 2 * size)
    files = len(list(directory.glob("*.safetensors")))
    assert (files > 1) == sharded, f"{files} files"
    return files


def language_model(checks, alfred, form, number, seed):
    draw = shapes.generator(seed, "theirs", form, number)
    tied, dtype, sharded = shapes.storage(form, number)
    config = shapes.config(form, draw, kv_heads=(1 + (seed + number) % 4,), tie_word_embeddings=tied)
    directory = alfred.directory / f"theirs-{form}-{number}"
    files = write(directory, config, "language", dtype, sharded, seed=draw.randrange(2**31))
    checks.start(f"theirs {form} {number}: {shapes.describe(config)}, {dtype}, files: {files}")
    model, wrong = reference.open_model(directory, "language")
    assert not wrong, wrong
    checks.attempt("log-probs", log_probs, checks, alfred, directory, model, draw)
    checks.attempt("greedy", greedy, checks, alfred, directory, model, draw, number % 2 == 0)
    checks.attempt("sampled log-probs", sampled, checks, alfred, directory, model, draw)
    if dtype == "bfloat16":
        checks.attempt("bfloat16 log-probs", bfloat16, checks, alfred, directory, model, draw)
    checks.attempt("export", export, checks, alfred, directory, "language", dtype)


def log_probs(checks, alfred, directory, model, draw):
    sequences = shapes.sequences(model.config, draw)
    ours = alfred.log_probs(directory, sequences, "--micro-batch-tokens", draw.choice((1, 100, 256, 4096)))
    theirs = reference.log_probs(model, sequences)
    checks.at_most("log-probs, float32 against float64", relative(ours, theirs), FLOAT32, f"{len(theirs)} tokens")


def prompts(model, draw, count):
    return [[draw.randrange(model.config.vocab_size) for _ in range(draw.randint(1, 60))] for _ in range(count)]


def set_eod(directory, model, prompt, new, draw):
    """Makes a token of a greedy continuation the one that ends a document, so that this continuation ends early."""
    ids, _ = reference.greedy(model, prompt, new)
    model.config.eos_token_id = draw.choice([t for t in ids if ids.index(t) >= 3] or ids)
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": model.config.eos_token_id}))


def greedy(checks, alfred, directory, model, draw, with_eod):
    given, new = prompts(model, draw, 6), 32
    if with_eod:
        set_eod(directory, model, given[0], new, draw)
    lines = alfred.generate(directory, given, "--greedy", "--max-new-tokens", new, "--slots", draw.randint(1, 6))
    wrong, compared, ended = [], 0, 0
    for prompt, line in zip(given, lines):
        theirs, margins = reference.greedy(model, prompt, new)
        clear = next((i for i, m in enumerate(margins) if m <= MARGIN), len(margins))
        ours = line["response_ids"]
        compared += clear
        wrong += [f"token {i}" for i in range(clear) if ours[i:i + 1] != theirs[i:i + 1]]
        if clear == len(theirs):
            finish = "eod" if theirs[-1] == model.config.eos_token_id else "length"
            ended += finish == "eod"
            if len(ours) != len(theirs) or line["finish"] != finish:
                wrong.append(f"{len(ours)} tokens, {line['finish']}, against {len(theirs)}, {finish}")
    assert compared >= len(given), f"only {compared} tokens before a near tie"
    checks.none_of("greedy tokens, finish", wrong, compared, f"margin > {MARGIN:g}, {ended} ended by EOD")


def sampled(checks, alfred, directory, model, draw):
    """The log-probs that generate reports, from its cache, against a whole forward pass."""
    given, t = prompts(model, draw, 6), draw.choice((0.7, 1.0, 1.3))
    lines = alfred.generate(directory, given, "--temperature", t, "--max-new-tokens", 40, "--seed", draw.randrange(99))
    theirs = reference.response_log_probs(model, given, [x["response_ids"] for x in lines], t)
    ours = float32([p for x in lines for p in x["logprobs"]])
    checks.at_most("log-probs of sampled tokens, float32", relative(ours, theirs), FLOAT32,
                   f"{len(ours)} tokens, temperature {t}")


def bfloat16(checks, alfred, directory, model, draw):
    """alfred's bfloat16 arithmetic, which generate offers, on the tokens that it sampled itself."""
    given = prompts(model, draw, 8)
    lines = alfred.generate(directory, given, "--precision", "bfloat16", "--max-new-tokens", 64, "--seed", 1)
    responses = [x["response_ids"] for x in lines]
    exact = reference.response_log_probs(model, given, responses)
    plain = falcon_model.load(directory, "language", torch.bfloat16)
    theirs = distance(reference.response_log_probs(plain, given, responses), exact)
    ours = distance([p for x in lines for p in x["logprobs"]], exact)
    checks.at_most("log-probs, bfloat16, error / torch's error", ours / theirs, PLAIN,
                   f"{ours:.3f} / {theirs:.3f}, {len(exact)} tokens")


def score_model(checks, alfred, form, number, seed):
    draw = shapes.generator(seed, "theirs score", form, number)
    _, dtype, sharded = shapes.storage(form, number, shift=3)
    config = shapes.config(form, draw, kv_heads=(1 + (seed + number + 2) % 4,), num_labels=1)
    if draw.random() < 0.5:
        config.pad_token_id = draw.randrange(config.vocab_size)
    directory = alfred.directory / f"theirs-{form}-{number}-score"
    files = write(directory, config, "score", dtype, sharded, seed=draw.randrange(2**31))
    checks.start(f"theirs {form} {number}, score head: {shapes.describe(config)}, {dtype}, files: {files}, "
                 f"pad {config.pad_token_id}")
    model, wrong = reference.open_model(directory, "score")
    assert not wrong, wrong
    checks.attempt("scores", scores, checks, alfred, directory, model, draw)
    checks.attempt("export", export, checks, alfred, directory, "score", dtype)


def scores(checks, alfred, directory, model, draw):
    sequences = shapes.sequences(model.config, draw, avoid_last=model.config.pad_token_id)
    lines = alfred.score(directory, sequences, "--micro-batch-tokens", draw.choice((1, 100, 4096)))
    theirs = reference.scores(model, sequences)
    checks.at_most("scores, float32 against float64", relative(float32([x["raw"] for x in lines]), theirs), FLOAT32,
                   f"{len(theirs)} sequences")
    checks.none_of("score is raw without a gain", [x["id"] for x in lines if x["raw"] != x["score"]], len(lines))


def export(checks, alfred, directory, head, dtype):
    """Round trip: every byte of every tensor as it was; at the other type as torch has it; transformers loads both."""
    for out in ("float32", "bfloat16"):
        exported = alfred.export(directory, f"{directory}-{out}", *(() if out == dtype else ("--precision", out)))
        expected = {k: t.to(getattr(torch, out)) for k, t in reference.tensors(directory).items()}
        before, after = reference.digests(expected), reference.digests(reference.tensors(exported))
        names = sorted(before.keys() | after.keys())
        wrong = [name for name in names if before.get(name) != after.get(name)]
        what = "as it is" if out == dtype else f"as {out}"
        checks.none_of(f"exported {what}: SHA-256 of tensors", wrong, len(names))
        check_loading(checks, exported, head, out)
        check_config(checks, directory, exported, but=() if out == dtype else ("dtype",))


def check_loading(checks, directory, head, dtype):
    """transformers finds every tensor where it looks for it, and of the type that config.json says."""
    model, wrong = reference.open_model(directory, head, dtype="auto")
    wrong += [f"{name} is {p.dtype}" for name, p in model.named_parameters() if p.dtype != getattr(torch, dtype)]
    checks.none_of("loads in transformers: keys, types", wrong, len(list(model.parameters())))


def check_config(checks, given, written, but=()):
    """config.json means to transformers what it meant before, apart from the keys in but."""
    configs = []
    for directory in (given, written):
        c = AutoConfig.from_pretrained(directory).to_dict()
        if c["multi_query"] and not c["new_decoder_architecture"]:
            del c["num_kv_heads"]  # there is one, whatever is written
        if c["parallel_attn"] and c["num_ln_in_parallel_attn"] is None:
            c["num_ln_in_parallel_attn"] = 2 if c["new_decoder_architecture"] else 1
        configs.append(c)
    a, b = configs
    # The last one is a key of older versions, always false here.
    passed_over = {"transformers_version", "_name_or_path", "apply_residual_connection_post_layernorm", *but}
    keys = sorted((a.keys() | b.keys()) - passed_over)
    wrong = [f"{k} {a.get(k)} became {b.get(k)}" for k in keys if a.get(k) != b.get(k)]
    checks.none_of("config.json as before: keys", wrong, len(keys))
