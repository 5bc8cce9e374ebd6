#!/usr/bin/env python3
"""Writes tests/data/torch: files of torch.save and what they hold. Made with torch 2.15.0.

usage: make_torch_files.py FOLDER

values.json maps file names to tensors: type, shape, and the elements row by row as bytes in
hexadecimal digits. Files that are not in it must be refused.
"""

import collections
import json
import pathlib
import sys

import torch

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64", torch.uint16: "U16",
    torch.float8_e4m3fn: "F8_E4M3",
}


def every_form():
    """One tensor of every element type, and every way in which a tensor can lie in its storage."""
    count = torch.arange(6).reshape(2, 3)
    tensors = {f"type.{name}": (count - 2).to(dtype) for dtype, name in NAMES.items()
               if dtype not in (torch.uint8, torch.uint16, torch.bool)}
    tensors["type.U8"] = count.to(torch.uint8)
    tensors["type.U16"] = count.to(torch.uint16)
    tensors["type.BOOL"] = count % 2 == 0
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors["view.transposed"] = base.t()
    tensors["view.rows"] = base[1:3]
    tensors["view.columns"] = base[:, 2:5]
    tensors["view.permuted"] = base.reshape(2, 3, 4).permute(2, 0, 1)
    tensors["view.same"] = base
    tensors["view.repeated"] = torch.tensor([[1.0], [2.0]]).expand(2, 3)
    tensors["scalar"] = torch.tensor(-0.0)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["parameter"] = torch.nn.Parameter(torch.tensor([1.5, -2.5], dtype=torch.bfloat16))
    return tensors


def described(tensor):
    plain = tensor.detach().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy() if plain.numel() else b""
    return {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "bytes": bytes(raw).hex()}


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(1)
    values = {}

    def save(name, tensors, **options):
        torch.save(tensors, folder / name, **options)
        values[name] = {key: described(tensor) for key, tensor in tensors.items()}

    for protocol in (2, 3, 4, 5):
        save(f"forms{protocol}.pt", every_form(), pickle_protocol=protocol)
    save("ordered.pt", collections.OrderedDict(b=torch.ones(2), a=torch.zeros(1)))
    module = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.LayerNorm(2),
                                 torch.nn.Linear(2, 3))
    save("module.bin", module.state_dict())

    # What must be refused.
    torch.save({"a": torch.ones(2)}, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(module, folder / "program.bin")
    torch.save({"model": {"a": torch.ones(2)}, "step": 7}, folder / "nested.bin")
    torch.save([torch.ones(2)], folder / "list.bin")
    (folder / "values.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
