"""The result of each comparison: one line with the largest error and its limit, and a count of what failed."""
import traceback

import torch


class Checks:
    """Prints a line per check. A check that raises an exception has failed."""

    def __init__(self):
        self.passed, self.failed, self.group = 0, [], ""

    def start(self, group):
        """Names what the checks from here on are about."""
        self.group = group
        print(f"\n{group}", flush=True)

    def at_most(self, what, error, limit, note=""):
        """Passes if error <= limit; an error that is no number fails."""
        self._report(what, error <= limit, f"{error:9.2e} of {limit:g}   {note}")

    def none_of(self, what, wrong, among, note=""):
        """Passes if the list of wrong things is empty and there was something to look at."""
        listed = "; ".join(map(str, wrong[:5])) + ("; ..." if len(wrong) > 5 else "")
        self._report(what, not wrong and among > 0, f"{len(wrong):4} wrong of {among}   {note} {listed}")

    def attempt(self, what, function, *arguments):
        """Calls a function that makes checks."""
        try:
            return function(*arguments)
        except Exception as problem:  # whatever it was, the other checks must still run
            where = traceback.extract_tb(problem.__traceback__)[-1]
            self._report(what, False, f"{type(problem).__name__} at {where.name}:{where.lineno}: {problem}")
        return None

    def _report(self, what, good, result):
        if good:
            self.passed += 1
        else:
            self.failed.append(f"{self.group}: {what}")
        print(f"  {'ok  ' if good else 'FAIL'} {what:<42} {result}".rstrip(), flush=True)


def relative(ours, theirs):
    """The largest |a - b| / (1 + |b|): at most 1e-5 means |a - b| <= 1e-5 |b| + 1e-5 everywhere."""
    ours, theirs = (torch.as_tensor(x, dtype=torch.float64) for x in (ours, theirs))
    assert ours.shape == theirs.shape, f"{list(ours.shape)} numbers against {list(theirs.shape)}"
    assert ours.numel() > 0, "there is nothing to compare"
    return ((ours - theirs).abs() / (1 + theirs.abs())).max().item()


def distance(a, b):
    """|a - b| in the L2 norm."""
    return (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)).norm().item()
