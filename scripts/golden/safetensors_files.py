"""Writes the files that the tests of internal/checkpoint/safetensors compare with, using the official packages.

    pip install torch safetensors huggingface_hub
    python scripts/golden/safetensors_files.py                # rewrites internal/checkpoint/safetensors/testdata/golden
    python scripts/golden/safetensors_files.py --check DIR    # reads DIR, written by alfred, with the official packages

The values are fixed or come from torch's generator with a fixed seed. The versions that wrote the files are in the
metadata of dtypes.safetensors.
"""

import argparse
import json
import math
import pathlib
import shutil

import huggingface_hub
import safetensors
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve()
GOLDEN = HERE.parents[2] / "internal/checkpoint/safetensors/testdata/golden"


def dtypes():
    """One tensor per element type that torch can hold, with values that every one of them has exactly or rounds."""
    numbers = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.5, 96.0]])
    tensors = {
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "cube": torch.arange(24, dtype=torch.float64).reshape(2, 3, 4),
    }
    signed = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    small = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
    integer = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64]
    for dtype in signed:
        tensors[str(dtype).removeprefix("torch.")] = (-numbers * math.pi).to(dtype)
    for dtype in small + integer:
        tensors[str(dtype).removeprefix("torch.")] = numbers.to(dtype)
    tensors["float8_e8m0fnu"] = torch.tensor([1.0, 2.0, 0.5]).to(torch.float8_e8m0fnu)
    tensors["complex64"] = torch.complex(numbers, -numbers)
    metadata = {
        "format": "pt",
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "text": 'quote " backslash \\ newline \n umlaut ü clef \U0001d11e',
    }
    safetensors.torch.save_file(tensors, GOLDEN / "dtypes.safetensors", metadata=metadata)
    floats = {
        name: {"shape": list(t.shape), "values": t.double().flatten().tolist()}
        for name, t in tensors.items()
        if t.dtype in signed
    }
    (GOLDEN / "dtypes.json").write_text(json.dumps(floats, indent=1, sort_keys=True) + "\n")


def rounding():
    """torch's own rounding of float32 to bfloat16, and its reading of float16."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.randint(-(2**31), 2**31, (800,), generator=generator).to(torch.int32)
    upper = torch.randint(-(2**15), 2**15, (400,), generator=generator).to(torch.int32) << 16
    near_half = torch.cat([upper | low for low in (0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 3.4028234e38, 3.3961776e38, 1.1754944e-38, 1.00390625, 1.01171875]
    single = torch.cat([patterns.view(torch.float32), near_half.view(torch.float32), torch.tensor(special)])
    half = torch.arange(0, 2**16, 29, dtype=torch.int32).to(torch.uint16).view(torch.float16)
    tensors = {"single": single, "bfloat": single.bfloat16(), "half": half, "half_as_single": half.float()}
    safetensors.torch.save_file(tensors, GOLDEN / "rounding.safetensors", metadata={"format": "pt"})


def sharded():
    """A model directory in three files, cut by huggingface_hub."""
    directory = GOLDEN / "sharded"
    directory.mkdir()
    tensors = {
        "a.weight": torch.arange(40, dtype=torch.float32).reshape(10, 4),
        "b.bias": torch.arange(7, dtype=torch.float32),
        "c.weight": torch.arange(30, dtype=torch.float32).reshape(5, 6) / 8,
        "d.weight": torch.arange(100, dtype=torch.float32).reshape(10, 10) * 2,
        "e.bias": torch.tensor([math.pi]),
    }
    huggingface_hub.save_torch_state_dict(tensors, directory, max_shard_size=200, safe_serialization=True)


def check(directory):
    """Reads every file with the official package and the whole directory as huggingface_hub does."""
    directory = pathlib.Path(directory)
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            assert file.metadata()["format"] == "pt", path
            for name in file.keys():
                found[name] = (path.name, file.get_tensor(name))
    assert found, f"no tensors in {directory}"
    index = directory / "model.safetensors.index.json"
    if index.exists():
        content = json.loads(index.read_text())
        assert content["weight_map"] == {name: file for name, (file, _) in found.items()}
        assert content["metadata"]["total_size"] == sum(t.nbytes for _, t in found.values())
        huggingface_hub.load_torch_model(Holder(found), directory, strict=True)
    for name, (file, tensor) in found.items():
        total = f"sum {tensor.double().sum():.17g}" if tensor.is_floating_point() else ""
        print(f"{file} {name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} {total}")


class Holder(torch.nn.Module):
    """A module whose state has the names found in the files."""

    def __init__(self, found):
        super().__init__()
        for name, (_, tensor) in found.items():
            module = self
            *path, last = name.split(".")
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            module.register_buffer(last, torch.zeros_like(tensor))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="DIR")
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.check)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    dtypes()
    rounding()
    sharded()


if __name__ == "__main__":
    main()
