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
_STORAGE = list(itertools.product((True, False), ("float32", "bfloat16"), (False, True)))


def storage(form, number, shift=0):
    """How the model of a form's round is stored: (tied, type, in several files).

    Three rounds meet both values of each: a step of 3 through the 8 combinations changes every one of them.
    """
    return _STORAGE[(3 * number + FORMS.index(form) + shift) % len(_STORAGE)]


def generator(seed, *names):
    """Random numbers that depend on the seed and on what they are for, not on what else was drawn."""
    return random.Random("/".join(map(str, (seed, *names))))


def config(form, draw, kv_heads=(1, 2, 3, 4), **fixed):
    """A random configuration. kv_heads are to choose from where heads are grouped; fixed goes before what is drawn."""
    flags = draw.choice(_MIXED) if form == "mixed" else FLAGS[form]
    kv = draw.choice(kv_heads)
    if flags["new_decoder_architecture"]:
        heads = kv * draw.randint(1, 12 // kv)
    elif flags["alibi"]:
        heads = draw.choice((3, 5, 6, 7, 9, 10, 11, 12, 13))  # no power of two: slopes that bfloat16 must round
    else:
        heads = draw.randint(1, 9)
    if not flags["new_decoder_architecture"]:
        kv = draw.choice((None, 1, heads)) if flags["multi_query"] else None  # passed over by transformers
    head_dim = draw.choice([k for k in range(8, 65, 2) if k * heads <= 288])
    hidden = heads * head_dim
    theta = draw.choice((10000.0, 500042.0, round(draw.uniform(2000, 90000), 2)))
    sizes = dict(
        hidden_size=hidden, num_attention_heads=heads, num_kv_heads=kv, num_hidden_layers=draw.randint(1, 3),
        ffn_hidden_size=draw.choice((4 * hidden, draw.randint(hidden // 2, 3 * hidden))),
        vocab_size=odd_vocabulary(draw, 67, 1500), max_position_embeddings=draw.randint(320, 600),
        rope_parameters={"rope_type": "default", "rope_theta": theta}, hidden_dropout=0.0, attention_dropout=0.0,
        layer_norm_epsilon=draw.choice((1e-5, 1e-6, 1e-3)), bos_token_id=None, eos_token_id=None)
    return FalconConfig(**flags, **(sizes | fixed))


def odd_vocabulary(draw, low, high):
    """A size that is no multiple of 64."""
    return draw.choice([v for v in range(low, high) if v % 64])


def sequences(config, draw, avoid_last=None):
    """Ragged sequences of 1 to 200 tokens; with ALiBi one of 300, as bfloat16 holds positions up to 256 exactly.

    None ends in the id avoid_last.
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
    """The shape in one line, in the letters of the dimension key."""
    c, kv = config, config.num_kv_heads
    if not c.new_decoder_architecture:
        kv = 1 if c.multi_query else c.num_attention_heads
    marks = {"alibi": c.alibi, "bias": c.bias, "sequential": not (c.parallel_attn or c.new_decoder_architecture),
             "tied": c.tie_word_embeddings, "untied": not c.tie_word_embeddings}
    return " ".join([f"D{c.hidden_size} H{c.num_attention_heads} G{kv} K{c.head_dim} F{c.ffn_hidden_size}",
                     f"L{c.num_hidden_layers} V{c.vocab_size}", *(mark for mark, on in marks.items() if on)])
