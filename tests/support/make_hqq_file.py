#!/usr/bin/env python3
"""Writes tests/data/hqq: a file of modules as the hqq library (0.2.8) saves a model, and hashes of the
weights that the library makes of it.

    make_hqq_file.py FOLDER

Every module is quantized by the library; "old" then gets the form of older files, whose values are in a
dict "meta" that has no compute_dtype.
"""
import hashlib
import json
import sys
from pathlib import Path

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear, Quantizer

CASES = {  # bits, axis, group, [out, in], type, bias, codes viewed as floats
    "a.w8": (8, 1, 16, (6, 32), torch.float16, False, False),
    "a.w4": (4, 1, 16, (6, 48), torch.bfloat16, True, False),
    "a.w3": (3, 1, 32, (7, 64), torch.bfloat16, False, False),
    "a.w2": (2, 1, 16, (8, 32), torch.float16, False, False),
    "a.w1": (1, 1, 8, (4, 32), torch.float32, False, False),
    "a.channel": (4, 1, None, (6, 40), torch.bfloat16, False, False),
    "a.columns4": (4, 0, 16, (8, 48), torch.bfloat16, False, False),
    "a.columns3": (3, 0, 16, (8, 48), torch.float16, False, False),
    "a.floats": (4, 1, 16, (8, 32), torch.bfloat16, False, True),
    "a.old": (4, 1, 16, (6, 32), torch.float16, False, False),
}


def module(bits, axis, group, shape, dtype, bias, view):
    linear = torch.nn.Linear(shape[1], shape[0], bias=bias)
    config = BaseQuantizeConfig(nbits=bits, group_size=group, axis=axis, view_as_float=view)
    layer = HQQLinear(linear, config, compute_dtype=dtype, device="cpu")
    layer.encoded_state_dict = False
    return dict(layer.state_dict())


def main():
    torch.manual_seed(5)
    weights, hashes = {"norm": {"weight": torch.randn(5).to(torch.bfloat16)}}, {}
    for name, case in CASES.items():
        state = module(*case)
        weight = Quantizer.dequantize(state["W_q"].data, state)
        data = weight.detach().contiguous().view(torch.uint8).numpy().tobytes()
        hashes[name] = {
            "shape": list(weight.shape),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        if name == "a.old":
            meta = {k: v for k, v in state.items() if k not in ("W_q", "compute_dtype")}
            state = {"W_q": state["W_q"], "bias": None, "meta": meta}
        weights[name] = state
    folder = Path(sys.argv[1])
    torch.save(weights, folder / "qmodel.pt")
    (folder / "values.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
