"""Golden file for internal/eval/jinja, rendered by Jinja2 itself.

    python -m venv VENV && VENV/bin/pip install jinja2==3.1.6
    VENV/bin/python scripts/golden/jinja_templates.py

Writes internal/eval/jinja/testdata/probes.json: small templates over one document, each with the text that Jinja2 makes of it under the
settings of the Language Model Evaluation Harness, or the name of the error. Expressions are made by combining the parts below.
"""

import itertools
import json
import pathlib
import re
import sys

import jinja2

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal" / "eval" / "jinja" / "testdata" / "probes.json"

DOCUMENT = {
    "text": "It's a  \"small\" née_test ", "empty": "", "spaces": " \t\n x \u00a0", "digits": "42", "accent": "ÉCOLE straße", "word": "beta",
    "n": 3, "zero": 0, "minus": -7, "big": 2**53, "x": 2.5, "huge": 1e16, "tiny": 1e-5, "third": 1 / 3, "yes": True, "no": False, "nothing": None,
    "list": ["a", "it's", 'say "x"', "both ' and \""], "numbers": [3, 1, 2], "mixed": [1, "1", 1.0, None, True, [2]], "none": [],
    "choices": {"text": ["alpha", "beta", "gamma"], "label": ["A", "B", "C"]},
    "rows": [{"k": "x", "v": 1, "in": {"d": "p"}}, {"k": "y", "v": 2, "in": {"d": "q"}}], "answer": "B", "dict": {"one": 1, "items": "shadowed", "a b": 2},
}

NAMES = list(DOCUMENT)
VALUES = NAMES + ["'lit'", "1", "0.5", "1e3", "-2", "true", "None", "[]", "['a', n]", "(1, 'b')", "(1,)", "{'a': 1}", "missing", "dict.one", "choices.text", "rows[1].k", "list[0]"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
OPERANDS = ["n", "minus", "x", "'ab'", "digits", "list", "numbers", "nothing", "yes", "zero", "choices.label", "mixed"]
SUFFIXES = [
    "[0]", "[-1]", "[9]", "[1:]", "[:-1]", "[::2]", "[::-1]", "[-2:]", "[3:1:-1]", "[n]", "['one']", ".one", ".text", ".strip()", ".lstrip()", ".rstrip()",
    ".strip(' x')", ".lower()", ".upper()", ".capitalize()", ".split()", ".split(' ')", ".split(' ', 1)", ".split(none|default(' '))", ".split(None, 1)",
    ".split('e')", ".replace('e', 'E')", ".replace('e', '', 1)", ".replace('', '-')", ".index('e')", ".index('it\\'s')", ".find('e')", ".find('zz')", ".count('e')",
    ".startswith('It')", ".endswith((' ', 'x'))", ".join(list)", ".get('one')", ".get('two', 2)", ".keys()|list", ".values()|list", ".items()|list", ".items",
    "|string", "|length", "|lower", "|upper", "|capitalize", "|trim", "|trim('I ')", "|replace('e', 'E')", "|replace('e', 'E', 1)", "|join", "|join(', ')", "|int",
    "|int(7)", "|float", "|list", "|first", "|last", "|reverse|list", "|abs", "|sum", "|default('d')", "|default('d', true)", "|d('e')", "|map('upper')|list",
    "|map('replace', 'a', 'A')|join(';')", "|map(attribute='k')|list", "|map(attribute='in.d')|join", "|map('string')|list", "|regex_replace('[aeiou]', '<\\\\g<0>>')",
    "|regex_replace('(.)t', '\\\\1T', 1)", " is defined", " is not defined", " is none", " is string", " is number", " is mapping", " is sequence", " is odd", " is in [3, 'beta']",
    " is divisibleby 3", " if yes else 'no'", " if no else 'other'", " if no",
]
WHOLE = [
    "a\n", "a\n\n", "{{ text }}\n", "\n{{n}}", "a {#- comment -#}  b", "a {# c #} b", "{%- if yes -%}  y  {%- endif -%}  z", "x  {%- if no %}a{% else %} b {%- endif %}\n c",
    "{% raw %}{{ n }}{% endraw %}", "{%- raw -%} {{ n }} {%- endraw -%} .", "{{ '}}' }}{{ \"{%\" }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{% for i in numbers %}{{ i }}{% endfor %}",
    "{% for i in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {% endfor %}",
    "{% for i in none %}x{% else %}empty{% endfor %}", "{% for i in numbers if i > 1 %}{{ loop.index }}:{{ i }} {% endfor %}", "{% for i in numbers if i > 9 %}x{% else %}none{% endfor %}",
    "{% for k, v in dict.items() %}x{% endfor %}", "{% for k, v in choices.items() %}{{ k }}={{ v|length }} {% endfor %}", "{% for (a, b) in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}x{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(1, 9, 3) %}{{ i }}{% endfor %}{{ range(5, 0, -2)|list }}",
    "{% for c in 'né' %}{{ c }}.{% endfor %}", "{% for k in choices %}{{ k }} {% endfor %}", "{% set a = n %}{{ a }}", "{% set a, b = numbers[:2] %}{{ b }}{{ a }}",
    "{% set a = 1 %}{% for i in numbers %}{% set a = i %}{% endfor %}{{ a }}", "{% if yes %}{% set a = 5 %}{% endif %}{{ a }}", "{% for i in numbers %}{{ loop.index }}{% for j in 'ab' %}{{ loop.index }}{% endfor %}{% endfor %}",
    "{% for i in numbers %}{% set t = i %}{% endfor %}{{ t }}", "{% if n == 3 %}a{% elif n == 4 %}b{% else %}c{% endif %}", "{% if n == 4 %}a{% elif n == 3 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% endif %}", "{% if missing is defined and missing %}a{% else %}b{% endif %}", "{{ missing.attribute is defined }}", "{{ dict.two is defined }}", "{{ text.foo }}",
    "{{ 1 if missing is defined }}", "{{ 'a' 'b' \"c\" }}", "{{ 'a\\n\\t\\x41\\u00e9\\101\\q' }}", "{{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 1.5e-3 }} {{ 1e5 }}", "{{ -2 ** 2 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }}",
    "{{ -5|abs }} {{ -x|abs }}", "{{ 1 + 2 * 3 - 4 / 2 }}", "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}", "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }}",
    "{{ not yes }} {{ not not n }} {{ not n in numbers }}", "{{ n in numbers and 'a' or 'b' }}", "{{ yes and nothing }} {{ zero or '' }} {{ no or 'x' }}", "{{ 'a' ~ n ~ nothing ~ yes ~ x }}",
    "{{ (1, 2) + (3,) }} {{ [1] + [2] }} {{ 'ab' * 2 }} {{ [0] * 3 }} {{ 2 * 'x' }}", "{{ text|length + 1 }}", "{{ list|length == 4 and yes }}", "{{ n is odd }} {{ n is even }} {{ n is not odd }}",
    "{{ choices.text[choices.label.index(answer)] }}", "{{ ['A', 'B'].index(answer) }}", "{{ choices['label'][0] }}", "{{ rows[0]['k'] }} {{ rows.0.k }}", "{{ text[1:4].upper().strip() }}",
    "{{ numbers.0 }}", "{{ loop }}", "{{ rows|map(attribute='v')|sum }}", "{{ 3.0 }} {{ 1e22 }} {{ 123456789.0 }} {{ 0.1 + 0.2 }} {{ 1e-4 }} {{ 2.0 ** 0.5 }}", "{{ n / zero }}", "{{ n.foo }}", "{{ 'x' + 1 }}",
    "{{ 'abc'['b'] }}", "{{ [1, 2,] }} {{ {'a': 1,} }} {{ () }}", "{{ 1, 2 }}", "{% if yes %}unclosed", "{{ n", "{% endif %}", "{{ }}", "{% for in numbers %}{% endfor %}", "{{ n | }}", "{{ [1 }}", "{# open",
    "{% raw %} open", "{{ 'open }}", "{{ n $ 2 }}", "{% if %}{% endif %}", "{{ true }}{{ True }}{{ false }}{{ None }}", "{{ yes is true }} {{ n is true }} {{ no is false }}", "{{ word is eq 'beta' }} {{ word is ne 'beta' }}",
]


def templates():
    for value in VALUES:
        yield "{{ %s }}" % value
    for value, suffix in itertools.product(["text", "spaces", "digits", "n", "x", "list", "numbers", "rows", "dict", "choices", "nothing", "yes", "missing", "empty", "none"], SUFFIXES):
        yield "{{ %s%s }}" % (value, suffix)
    for a, operator, b in itertools.product(OPERANDS, OPERATORS, OPERANDS):
        if (OPERANDS.index(a) + 3 * OPERATORS.index(operator) + 5 * OPERANDS.index(b)) % 4 == 0:
            yield "{{ %s %s %s }}" % (a, operator, b)
    yield from WHOLE


def render(environment, template):
    try:
        text = environment.from_string(template).render(**DOCUMENT)
    except Exception as error:  # whatever it is, the template gives no text
        return {"error": type(error).__name__}
    if re.search(r" object at 0x|<built-in method|dict_(keys|values|items)|Undefined|range\(", text):
        return {"error": "prints an address"}  # or what no prompt should hold
    return {"text": text}


def main():
    environment = jinja2.Environment(loader=jinja2.BaseLoader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda string, pattern, repl, count=0: re.sub(pattern, repl, string, count=count)
    probes = [[template, render(environment, template)] for template in templates()]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(probe, ensure_ascii=False) for probe in probes)
    OUT.write_text('{"jinja2": %s, "python": %s,\n"document": %s,\n"probes": [\n%s\n]}\n' % (
        json.dumps(jinja2.__version__), json.dumps(sys.version.split()[0]), json.dumps(DOCUMENT, ensure_ascii=False), lines), encoding="utf-8")
    print(f"{OUT}: {len(probes)} probes, {sum('text' in p[1] for p in probes)} with text")


if __name__ == "__main__":
    main()
