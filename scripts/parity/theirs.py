"""theirs -> ours: models that transformers wrote, read, run and written back by alfred."""
import torch
from transformers import AutoConfig

import falcon_model
import reference
import shapes
from checks import distance, relative

FLOAT32 = 1e-5   # log-probs and scores in float32 against float64: |a - b| <= 1e-5 |b| + 1e-5
PLAIN = 2        # bfloat16: at most twice the error of plain bfloat16 torch
MARGIN = 1e-4    # greedy tokens count while the two best logits differ by more: ten times the float32 error


def write(directory, config, head, dtype, sharded, seed):
    """Writes a random model as a user of transformers would, and returns how many files its weights fill."""
    model = falcon_model.HEADS[head](config).float()
    falcon_model.randomize(model, seed)
    with torch.no_grad():  # logits of the same size whatever the hidden size: errors of log-probs are in proportion to them
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
    eod = draw.choice((None, "one"))
    config = shapes.config(form, draw, kv_heads=(1 + (seed + number) % 4,), tie_word_embeddings=tied, bos_token_id=None, eos_token_id=None)
    if eod:
        config.eos_token_id = draw.randrange(config.vocab_size)
    directory = alfred.directory / f"theirs-{form}-{number}"
    files = write(directory, config, "language", dtype, sharded, seed=draw.randrange(2**31))
    checks.start(f"theirs {form} {number}: {shapes.describe(config)} {'tied' if tied else 'untied'} {dtype}, files: {files}")
    model, wrong = reference.open_model(directory, "language")
    assert not wrong, wrong
    checks.attempt("log-probs", score, checks, alfred, directory, model, draw)
    checks.attempt("greedy", greedy, checks, alfred, directory, model, draw)
    checks.attempt("sampled log-probs", sampled, checks, alfred, directory, model, draw)
    if dtype == "bfloat16":
        checks.attempt("bfloat16 log-probs", bfloat16, checks, alfred, directory, model, draw)
    checks.attempt("export", export, checks, alfred, directory, "language", dtype)


def score(checks, alfred, directory, model, draw):
    sequences = shapes.sequences(model.config, draw)
    ours = alfred.log_probs(directory, sequences, "--micro-batch-tokens", draw.choice((1, 100, 256, 4096)))
    theirs = reference.log_probs(model, sequences)
    checks.at_most("log-probs, float32 against float64", relative(ours, theirs), FLOAT32, f"{len(theirs)} tokens")


def prompts(model, draw, count):
    return [[draw.randrange(model.config.vocab_size) for _ in range(draw.randint(1, 60))] for _ in range(count)]


def greedy(checks, alfred, directory, model, draw):
    given, new = prompts(model, draw, 6), 32
    lines = alfred.generate(directory, given, "--greedy", "--max-new-tokens", new, "--slots", draw.randint(1, 6))
    wrong, compared = [], 0
    for prompt, line in zip(given, lines):
        theirs, margins = reference.greedy(model, prompt, new)
        clear = next((i for i, m in enumerate(margins) if m <= MARGIN), len(margins))
        ours = line["response_ids"]
        compared += clear
        wrong += [f"token {i}" for i in range(clear) if ours[i:i + 1] != theirs[i:i + 1]]
        if clear == len(theirs):
            ended = theirs[-1] == model.config.eos_token_id
            if len(ours) != len(theirs) or line["finish"] != ("eod" if ended else "length"):
                wrong.append(f"{len(ours)} tokens, {line['finish']}, against {len(theirs)}")
    assert compared >= 30, f"only {compared} tokens have no near tie"
    checks.none_of("greedy tokens", wrong, compared, f"(near ties left out, margin {MARGIN:g})")


def sampled(checks, alfred, directory, model, draw):
    given, temperature = prompts(model, draw, 6), draw.choice((0.7, 1.0, 1.3))
    lines = alfred.generate(directory, given, "--temperature", temperature, "--max-new-tokens", 40, "--seed", draw.randrange(1000))
    theirs = reference.response_log_probs(model, given, [x["response_ids"] for x in lines], temperature)
    ours = [p for x in lines for p in x["logprobs"]]
    checks.at_most("log-probs of sampled tokens, float32", relative(ours, theirs), FLOAT32, f"{len(ours)} tokens, temperature {temperature}")


def bfloat16(checks, alfred, directory, model, draw):
    """alfred's bfloat16 arithmetic, which generate offers, on the tokens that it sampled itself."""
    given = prompts(model, draw, 8)
    lines = alfred.generate(directory, given, "--precision", "bfloat16", "--max-new-tokens", 64, "--seed", draw.randrange(1000))
    responses = [x["response_ids"] for x in lines]
    exact = reference.response_log_probs(model, given, responses)
    plain = reference.response_log_probs(falcon_model.load(directory, "language", torch.bfloat16), given, responses)
    ours, theirs = distance([p for x in lines for p in x["logprobs"]], exact), distance(plain, exact)
    checks.at_most("bfloat16 log-probs, error / torch's error", ours / theirs, PLAIN, f"{ours:.3f} and {theirs:.3f}, {len(exact)} tokens")


def export(checks, alfred, directory, head, dtype):
    """Round trip: every byte of every tensor as it was; the other type as torch converts it; transformers loads both."""
    stored = reference.tensors(directory)
    other = "bfloat16" if dtype == "float32" else "float32"
    for out, flags, expected in (("same", (), stored), ("other", ("--precision", other), {k: t.to(getattr(torch, other)) for k, t in stored.items()})):
        exported = alfred.export(directory, f"{directory}-export-{out}", *flags)
        before, after = reference.digests(expected), reference.digests(reference.tensors(exported))
        names = sorted(set(before) | set(after))
        wrong = [name for name in names if before.get(name) != after.get(name)]
        checks.none_of(f"exported {flags[1] if flags else 'as it is'}: tensors, SHA-256", wrong, len(names))
        check_loading(checks, exported, head, flags[1] if flags else dtype)
        check_config(checks, directory, exported, but=("dtype",) if flags else ())


def check_loading(checks, directory, head, dtype):
    """transformers finds every tensor of an exported directory where it looks for it, and the type that config.json says."""
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
    checks.none_of("config.json: keys", [f"{k}: {a.get(k)} became {b.get(k)}" for k in keys if a.get(k) != b.get(k)], len(keys))


def score_model(checks, alfred, form, number, seed):
    draw = shapes.generator(seed, "theirs score", form, number)
    _, dtype, sharded = shapes.storage(form, number, shift=3)
    config = shapes.config(form, draw, kv_heads=(1 + (seed + number + 2) % 4,), num_labels=1, bos_token_id=None, eos_token_id=None)
    if draw.random() < 0.5:
        config.pad_token_id = draw.randrange(config.vocab_size)
    directory = alfred.directory / f"theirs-{form}-{number}-score"
    files = write(directory, config, "score", dtype, sharded, seed=draw.randrange(2**31))
    checks.start(f"theirs {form} {number}, score head: {shapes.describe(config)} {dtype}, files: {files}, pad {config.pad_token_id}")
    model, wrong = reference.open_model(directory, "score")
    assert not wrong, wrong
    checks.attempt("scores", raw_scores, checks, alfred, directory, model, draw)
    checks.attempt("export", export, checks, alfred, directory, "score", dtype)


def raw_scores(checks, alfred, directory, model, draw):
    sequences = shapes.sequences(model.config, draw, avoid_last=model.config.pad_token_id)
    lines = alfred.score(directory, sequences, "--micro-batch-tokens", draw.choice((1, 100, 4096)))
    theirs = reference.scores(model, sequences)
    checks.at_most("scores, float32 against float64", relative([x["raw"] for x in lines], theirs), FLOAT32, f"{len(theirs)} sequences")
    checks.none_of("score is raw without a gain", [x["id"] for x in lines if x["raw"] != x["score"]], len(lines))
