"""Where and how the peers run: processes, environments of PyTorch, versions and the machine."""
import argparse
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path

# MKL, which multiplies torch's float32 matrices, takes its AVX2 path on AMD processors unless this says otherwise.
SHIM = "int mkl_serv_intel_cpu_true(void)\n{\n    return 1;\n}\n"
# glibc returns large blocks to the kernel at every free, and a training step then spends its time on page faults.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class Missing(Exception):
    """Something that a benchmark needs is not there; the text says what and how to get it."""


def require(package, why):
    """Raises Missing if a Python package cannot be imported."""
    if importlib.util.find_spec(package) is None:
        raise Missing(f"{package} is not installed for this Python; {why}")


def execute(command, **more):
    """What a command prints; a failure is an exception with the command and its last words."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, **more)
    except FileNotFoundError as problem:
        raise Missing(f"cannot run `{' '.join(command)}`: no {problem.filename}") from None
    if done.returncode != 0:
        last_words = (done.stdout + done.stderr).strip()[-1500:]
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {last_words}")
    return done.stdout


def at_least_one(text):
    """A count in the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def stock():
    """PyTorch as installed."""
    return dict(os.environ)


def tuned(out):
    """PyTorch as fast as it gets on this CPU; the shim is compiled into the directory out."""
    source, library = out / "mkl_shim.c", out.resolve() / "mkl_shim.so"
    source.write_text(SHIM)
    compiler = os.environ.get("CC", "cc")
    try:
        command = [compiler, "-shared", "-fPIC", "-o", library, source]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing(f"no C compiler {compiler!r}, needed for the tuned peer: install one or set CC, or use "
                      "--torch stock") from None
    except subprocess.CalledProcessError as problem:
        raise Missing(f"{compiler} does not compile {source}: {problem.stderr.strip()}") from None
    preload = " ".join(x for x in (str(library), os.environ.get("LD_PRELOAD")) if x)
    return os.environ | ALLOCATOR | {"LD_PRELOAD": preload}


def processors():
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def describe(alfred):
    """Name and text of what the figures depend on, for the report."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers")]
    return {
        "processor": f"{_cpu_model()}, {processors()} cores",
        "system": platform.platform(),
        "alfred": _first_line(alfred, "--version"),
        "Go": _first_line("go", "version"),
        "Python": ", ".join([platform.python_version(), *versions]),
        "load before": f"{os.getloadavg()[0]:.2f} processes",
    }


def _cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def _first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"
