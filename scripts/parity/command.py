"""alfred's command line as functions."""
import json
import shlex
import subprocess
from pathlib import Path

import torch


def float32(numbers):
    """The numbers that alfred means by the shortest decimals of float32 that it prints."""
    return torch.tensor(numbers, dtype=torch.float32).tolist()


class Alfred:
    """Runs one alfred binary; files that pass between it and the script go to a directory."""

    def __init__(self, binary, directory):
        self.binary, self.directory, self.calls = str(Path(binary).resolve()), Path(directory), 0

    def run(self, *arguments, stdin=""):
        """Returns what the command prints; a non-zero exit is an exception with the command and its last words."""
        command = [self.binary, *(str(a) for a in arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, cwd=self.directory)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}: exit {done.returncode}: {done.stderr.strip()[-1500:]}")
        return done.stdout

    def _exchange(self, rows, *arguments, give, take):
        self.calls += 1
        given, taken = (self.directory / f"{arguments[0]}-{self.calls}-{name}.jsonl" for name in ("in", "out"))
        given.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.run(*arguments, give, given, take, taken)
        lines = [json.loads(line) for line in taken.read_text().splitlines()]
        assert len(lines) == len(rows), f"{len(lines)} lines for {len(rows)}"
        return lines

    def score(self, model, sequences, *flags):
        """The lines for lists of ids, in order."""
        rows = [{"id": i, "ids": s} for i, s in enumerate(sequences)]
        lines = self._exchange(rows, "score", "--model", model, *flags, give="--input", take="--output")
        assert [{k: x[k] for k in ("id", "ids")} for x in lines] == rows, "score changed ids or their order"
        return lines

    def log_probs(self, model, sequences, *flags):
        """The log-probs of all tokens but the first of each sequence, in one list."""
        out = []
        for line, ids in zip(self.score(model, sequences, *flags), sequences):
            first, *rest = line["logprobs"]
            assert first is None and len(rest) == len(ids) - 1, f"{len(rest) + 1} log-probs for {len(ids)} tokens"
            rest = float32(rest)
            assert abs(line["sum"] - sum(rest)) <= 1e-6 * (1 + abs(line["sum"])), "the sum is not that of the log-probs"
            out += rest
        return out

    def generate(self, model, prompts, *flags):
        """The lines for prompts of ids, in order."""
        rows = [{"prompt_ids": p} for p in prompts]
        lines = self._exchange(rows, "generate", "--model", model, *flags, give="--prompts", take="--output")
        assert [x["prompt_ids"] for x in lines] == prompts, "generate changed prompts or their order"
        return lines

    def export(self, source, out, *flags):
        """Returns the new directory."""
        self.run("checkpoint", "export", source, "--out", out, *flags)
        return Path(out)

    def train(self, config):
        """Runs a stage and returns the run directory and the lines of its metrics."""
        run = Path(config["run"]["dir"])
        path = self.directory / f"{run.name}.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self.run("train", "--config", path)
        return run, [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    def tokenize(self, tokenizer, texts, *flags):
        """The ids of each text."""
        rows = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        out = self.run("tokenize", "--tokenizer", tokenizer, *flags, stdin=rows)
        return [json.loads(line)["ids"] for line in out.splitlines()]
