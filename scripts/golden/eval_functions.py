"""Golden file for the Python functions of the Language Model Evaluation Harness that internal/eval/task has in Go.

    VENV/bin/python scripts/golden/eval_functions.py          (VENV as for eval_prompts.py)

Runs the functions of the harness's own task folders, and those of builtin/functions.py, over documents invented here, and writes
internal/eval/task/testdata/functions.json: file by SHA-256, function, documents and what came out.
"""

import hashlib
import importlib.util
import json
import pathlib

import datasets
import lm_eval

ROOT = pathlib.Path(__file__).resolve().parents[2]
HARNESS = pathlib.Path(lm_eval.__file__).parent / "tasks"
OWN = ROOT / "internal" / "eval" / "task" / "builtin" / "functions.py"
OUT = ROOT / "internal" / "eval" / "task" / "testdata" / "functions.json"

RACE = [
    {"article": "Tom sails.\nHe is 9.", "problems": str([
        {"question": "Who sails  _  .", "answer": "B", "options": ["Ann", "Tom", "it's nobody", 'the "cat"']},
        {"question": "How old is he?", "answer": "D", "options": ["1", "2", "3", "9"]},
        {"question": "Tom likes  _  .", "answer": "A", "options": ["water", "sand", "tea", "ink"]}])},
    {"article": "One question only", "problems": str([{"question": "Which?", "answer": "C", "options": ["a", "b", "c\n", "d"]}])},
]
HELLASWAG = [
    {"activity_label": "Baking", "ctx_a": "A man stands. [header] He [title] Mixes", "ctx_b": "then ÉLAN he", "label": "2", "endings": [" [step] stirs.", "sits  down   now", "[a][b] x", "ends [title] Well "]},
    {"activity_label": "", "ctx_a": "", "ctx_b": "", "label": "0", "endings": ["", "a [", "] b", "[unclosed"]},
]
PAWS = [
    {"id": 1, "sentence1": "He does n't ( really ) say \" yes \" , does he .", "sentence2": "\" Yes \" 's what he said ;", "label": 1},
    {"id": 2, "sentence1": "", "sentence2": "Left out", "label": 0},
    {"id": 3, "sentence1": "Ends with semicolon ;", "sentence2": "ÜBER all , in .", "label": 0},
]
MATHQA = [
    {"options": "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these"}, {"options": "a ) 1 , 5 , b ) rs . 2 , c ) 3 , d ) 4 , e ) 5 ,"}, {"options": "no options"},
]
ARITHMETIC = [{"context": "\n\nQ: What is 1 plus 2?\n\nA:", "completion": " 3"}, {"context": "A: Q: AQ:  ", "completion": " x"}]
WINOGRANDE = [{"sentence": "The cup fit the _ because it was big.", "option1": "box", "option2": "bag", "answer": "2"}, {"sentence": "_ ran", "option1": "Éva", "option2": "Al", "answer": "1"}]
COPA = [{"premise": " The sun rose. ", "question": "effect", "choice1": "It got warm.", "choice2": "ÉTÉ came.", "label": 0}, {"premise": "X", "question": "cause", "choice1": "A", "choice2": "B", "label": 1}]
LOGIQA = [{"context": "All cats sleep.", "question": "What follows?", "options": ["one", "two", "three", "four", "five"], "label": " c\n"}, {"context": "", "question": "", "options": ["a"], "label": "a"}]
PUBMEDQA = [{"CONTEXTS": ["First.", "Second\nline."], "QUESTION": "Does it?"}, {"CONTEXTS": [], "QUESTION": ""}]

HARNESS_FILES = {
    "arithmetic/utils.py": {"process_docs": ARITHMETIC},
    "winogrande/preprocess_winogrande.py": dict.fromkeys(["doc_to_text", "doc_to_target", "doc_to_choice"], WINOGRANDE),
    "super_glue/copa/utils.py": dict.fromkeys(["doc_to_text", "doc_to_target", "doc_to_choice"], COPA),
    "logiqa/utils_logiqa.py": dict.fromkeys(["doc_to_text", "doc_to_target"], LOGIQA),
    "mathqa/utils.py": {"doc_to_choice": MATHQA},
    "race/preprocess_race.py": dict.fromkeys(["doc_to_text", "doc_to_target", "doc_to_choice"], RACE),
    "hellaswag/utils.py": {"process_docs": HELLASWAG},
    "pubmedqa/preprocess_pubmedqa.py": {"doc_to_text": PUBMEDQA},
    "paws-x/utils.py": {"process_docs_paraphrases": PAWS},
}
OWN_FUNCTIONS = {"hellaswag_documents": HELLASWAG, "mathqa_choices": MATHQA, "paws_documents": PAWS, "race_text": RACE, "race_answer": RACE, "race_choices": RACE}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(path, functions):
    module = load(path)
    for name, documents in functions.items():
        function = getattr(module, name)
        if name.startswith("process_docs") or name.endswith("_documents"):
            out = list(function(datasets.Dataset.from_list(documents)))
        else:
            out = [function(dict(document)) for document in documents]
        yield {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "function": name, "documents": documents, "out": out}


def main():
    datasets.disable_progress_bars()
    records = [r for path, functions in HARNESS_FILES.items() for r in record(HARNESS / path, functions)]
    records += record(OWN, OWN_FUNCTIONS)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    OUT.write_text('{"lm_eval": %s, "records": [\n%s\n]}\n' % (json.dumps(lm_eval.__version__), lines), encoding="utf-8")
    print(f"{OUT}: {len(records)} functions")


if __name__ == "__main__":
    main()
