"""Random Falcon shapes, as FalconConfig, and random sequences."""
import itertools
import random

from transformers import FalconConfig

from falcon_model import FLAGS

# mixed: flags that no published model combines.
FORMS = (*FLAGS, "mixed")
_MIXED = (
    dict(FLAGS["40b"], bias=True),
    dict(FLAGS["40b"], alibi=True),
    dict(FLAGS["40b-1ln"], alibi=True, bias=True),
    dict(FLAGS["7b"], bias=True, alibi=True),
    dict(FLAGS["7b"], multi_query=False),
    dict(FLAGS["7b"], parallel_attn=False),
    dict(FLAGS["rw"], alibi=False),
    dict(FLAGS["rw"], multi_query=True, bias=False),
)
# Every form meets every value of these within three rounds: a step of 3 through the 8 combinations changes each bit.
STORAGE = list(itertools.product((True, False), ("float32", "bfloat16"), (False, True)))  # tied, type, sharded


def storage(form, number, shift=0):
    """How the model of a form's round is stored: (tied, type, sharded)."""
    return STORAGE[(3 * number + FORMS.index(form) + shift) % len(STORAGE)]


def generator(seed, *names):
    """Random numbers that depend on the seed and on what they are for, not on what else was drawn."""
    return random.Random("/".join(str(n) for n in (seed, *names)))


def flags(form, draw):
    return draw.choice(_MIXED) if form == "mixed" else FLAGS[form]


def config(form, draw, kv_heads=(1, 2, 3, 4), **fixed):
    """A random configuration; kv_heads are to choose from where heads are grouped, and fixed goes before what is drawn."""
    f = flags(form, draw)
    kv = draw.choice(kv_heads)
    if f["new_decoder_architecture"]:
        heads = kv * draw.randint(1, 12 // kv)
    elif f["alibi"]:
        heads = draw.choice((3, 5, 6, 7, 9, 10, 11, 12, 13))  # no power of two: their slopes are not exact in bfloat16
    else:
        heads = draw.randint(1, 9)
    head_dim = draw.choice([k for k in range(8, 65, 2) if k * heads <= 288])
    hidden = heads * head_dim
    grouped = f["new_decoder_architecture"]
    sizes = dict(
        hidden_size=hidden, num_attention_heads=heads,
        num_kv_heads=kv if grouped else None if not f["multi_query"] else draw.choice((None, 1, heads)),
        ffn_hidden_size=draw.choice((4 * hidden, draw.randint(hidden // 2, 3 * hidden))),
        num_hidden_layers=draw.randint(1, 3),
        vocab_size=draw.choice([v for v in range(67, 1500) if v % 64]),
        max_position_embeddings=draw.randint(320, 600),
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((10000.0, 500042.0, round(draw.uniform(2000, 90000), 2)))},
        layer_norm_epsilon=draw.choice((1e-5, 1e-5, 1e-6, 1e-3)),
        hidden_dropout=0.0, attention_dropout=0.0,
    )
    return FalconConfig(**f, **(sizes | fixed))


def sequences(config, draw, avoid_last=None):
    """Ragged sequences of 1 to 200 tokens, with ALiBi one of 300: bfloat16 holds positions up to 256 exactly.

    avoid_last is an id that ends none of them.
    """
    lengths = [1, 2, 200, *(draw.randint(1, 200) for _ in range(5))] + [300] * bool(config.alibi)
    draw.shuffle(lengths)
    out = []
    for n in lengths:
        ids = [draw.randrange(config.vocab_size) for _ in range(n)]
        while ids[-1] == avoid_last:
            ids[-1] = draw.randrange(config.vocab_size)
        out.append(ids)
    return out


def describe(config):
    """The shape in one line."""
    kv = config.num_kv_heads if config.new_decoder_architecture else 1 if config.multi_query else config.num_attention_heads
    marks = [name for name, on in (("alibi", config.alibi), ("bias", config.bias), ("sequential", not (
        config.parallel_attn or config.new_decoder_architecture))) if on]
    return " ".join([f"D{config.hidden_size} H{config.num_attention_heads} G{kv} K{config.head_dim} F{config.ffn_hidden_size}",
                     f"L{config.num_hidden_layers} V{config.vocab_size}", *marks])
