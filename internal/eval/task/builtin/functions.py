"""Functions of the tasks in this folder that Jinja cannot express. alfred does not run them: it has the same in Go and knows this file
by its hash. They are here so that the Language Model Evaluation Harness can load the tasks unchanged."""
import ast
import re


def _without_markup(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def hellaswag_documents(dataset):
    def document(row):
        context = row["ctx_a"] + " " + row["ctx_b"].capitalize()
        return {
            "query": _without_markup(row["activity_label"] + ": " + context),
            "choices": [_without_markup(ending) for ending in row["endings"]],
            "gold": int(row["label"]),
        }

    return dataset.map(document)


def mathqa_choices(row):
    return [option[4:].rstrip(" ,") for option in re.findall(r"[abcd] \) .*?, |e \) .*?$", row["options"])]


def _detokenized(text):
    for apart, joined in ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"')):
        text = text.replace(apart, joined)
    return re.sub(r" (['.,])", r"\1", text).strip()


def paws_documents(dataset):
    def document(row):
        first, second = _detokenized(row["sentence1"]), _detokenized(row["sentence2"])
        if first.endswith((".", ",", ";")):
            first = first[:-1]
        return {"sentence1": first, "sentence2": second[0].lower() + second[1:]}

    return dataset.filter(lambda row: row["sentence1"] and row["sentence2"]).map(document)


def _problems(row):
    return ast.literal_eval(row["problems"])


def _answer(problem):
    return problem["options"]["ABCD".index(problem["answer"])]


def race_text(row):
    text = "Article: " + row["article"] + "\n\n"
    *before, last = _problems(row)
    for problem in before:
        if problem["question"].endswith("  _  ."):
            text += problem["question"][:-5] + _answer(problem) + "\n"
        else:
            text += "Question: " + problem["question"] + "\nAnswer: " + _answer(problem) + "\n"
    return text + last["question"]


def race_answer(row):
    return "ABCD".index(_problems(row)[-1]["answer"])


def race_choices(row):
    return _problems(row)[-1]["options"][:4]


def mean_f1_of_three(items):
    from sklearn.metrics import f1_score

    golds, predictions = zip(*items)
    of_class = [f1_score([g == c for g in golds], [p == c for p in predictions]) for c in range(3)]
    return sum(of_class) / 3
