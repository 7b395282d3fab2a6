"""Compares alfred with transformers, live, in both directions, on random shapes of all forms of Falcon.

    python scripts/parity/parity.py --alfred bin/alfred [--seed N] [--rounds N] [--forms FORM...]

theirs.py: models that transformers wrote (40b with two and one layer norms, 7b, rw, and mixtures of their flags; tied
and untied; language and score heads; float32 and bfloat16; one file and several), scored, continued and exported by
alfred. ours.py: models that alfred initialised, fine-tuned, trained as reward models and by PPO, on one and two tensor
ranks, exported and run by transformers; torch repeats the training steps. The limits are at the top of these two files.

Prints a line per check with the largest error and its limit. When one fails, the exit code is 1 and what the checks
read and wrote is kept.
"""
import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

from falcon_model import set_up_torch  # noqa: E402

import ours  # noqa: E402
import shapes  # noqa: E402
import theirs  # noqa: E402
from checks import Checks  # noqa: E402
from command import Alfred  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alfred", type=Path, required=True, help="the binary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="random shapes of each form")
    parser.add_argument("--forms", nargs="+", choices=shapes.FORMS, default=shapes.FORMS)
    options = parser.parse_args()
    set_up_torch()
    start, checks = time.monotonic(), Checks()
    directory = Path(tempfile.mkdtemp(prefix="alfred-parity-"))
    alfred = Alfred(options.alfred, directory)
    for form in options.forms:
        for number in range(options.rounds):
            for check in (theirs.language_model, theirs.score_model, ours.models):
                name = f"{check.__module__} {form} {number}"
                checks.attempt(name, check, checks, alfred, form, number, options.seed)
    print(f"\n{checks.passed + len(checks.failed)} checks, {len(checks.failed)} failed, seed {options.seed}, "
          f"{time.monotonic() - start:.0f} s")
    for name in checks.failed:
        print(f"  FAIL {name}")
    if checks.failed or not checks.passed:
        print(f"what they read and wrote is in {directory}")
        raise SystemExit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
