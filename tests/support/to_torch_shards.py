#!/usr/bin/env python3
"""Rewrites a model folder's model.safetensors as files of torch.save in shards, without torch.

usage: to_torch_shards.py FROM TO [SHARDS]

Every third matrix is stored transposed, as a view of the other order.
"""

import io
import json
import pathlib
import pickle
import shutil
import struct
import sys
import types
import zipfile

STORAGES = {"F32": ("FloatStorage", 4), "F16": ("HalfStorage", 2), "BF16": ("BFloat16Storage", 2)}


def stand_in(module, name, **members):
    """A class that pickles as module.name."""
    parent = sys.modules.setdefault(module, types.ModuleType(module))
    made = type(name, (), {"__module__": module, **members})
    setattr(parent, name, made)
    return made


for storage, _ in STORAGES.values():
    stand_in("torch", storage)
REBUILD = stand_in("torch._utils", "_rebuild_tensor_v2")


class Storage:
    def __init__(self, dtype, raw):
        self.dtype, self.raw = dtype, raw


class Tensor:
    def __init__(self, storage, shape, stride):
        self.storage, self.shape, self.stride = storage, shape, stride


class Writer(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages.append(value)
        name, size = STORAGES[value.dtype]
        key = str(len(self.storages) - 1)
        return ("storage", getattr(sys.modules["torch"], name), key, "cpu", len(value.raw) // size)

    def reducer_override(self, value):
        if not isinstance(value, Tensor):
            return NotImplemented
        return REBUILD, (value.storage, 0, value.shape, value.stride, False, {})


def strides(shape):
    made, step = [], 1
    for size in reversed(shape):
        made.insert(0, step)
        step *= size
    return tuple(made)


def transposed(raw, rows, cols, size):
    return b"".join(raw[(r * cols + c) * size:(r * cols + c + 1) * size]
                    for c in range(cols) for r in range(rows))


def save(path, tensors):
    file = io.BytesIO()
    writer = Writer(file)
    writer.dump(tensors)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", file.getvalue())
        archive.writestr(f"{path.stem}/byteorder", "little")
        for i, held in enumerate(writer.storages):
            archive.writestr(f"{path.stem}/data/{i}", held.raw)
        archive.writestr(f"{path.stem}/version", "3\n")


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    shards = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    target.mkdir(parents=True)
    raw = (source / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    header.pop("__metadata__", None)

    files = [{} for _ in range(shards)]
    for i, (name, entry) in enumerate(header.items()):
        begin, end = entry["data_offsets"]
        shape, content, stride = tuple(entry["shape"]), data[begin:end], strides(entry["shape"])
        if len(shape) == 2 and i % 3 == 0:
            content = transposed(content, *shape, STORAGES[entry["dtype"]][1])
            stride = (1, shape[0])
        files[i % shards][name] = Tensor(Storage(entry["dtype"], content), shape, stride)

    weight_map = {}
    for i, tensors in enumerate(files):
        name = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        save(target / name, tensors)
        weight_map.update(dict.fromkeys(tensors, name))
    (target / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file in source.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, target)


if __name__ == "__main__":
    main()
