#!/usr/bin/env python3
"""Every quantised type against the reader of llama.cpp, the Python package gguf.

gguf_reference.py TABLE_DUMP: tables of random blocks, and of normal numbers quantised by the
package, are written by it and read by TABLE_DUMP; values must be equal to the last bit.  Files are of version 3, as the package writes them, and of version 2, which differs in its
number only; and split in three, as llama-gguf-split does it.  Exit status 77: no such package.
"""

import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing} (pip install gguf)")
    sys.exit(77)

WIDTH, ROWS = 512, 24
# Bytes of a block at which a half-precision number begins.
HALVES = {
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


def random_blocks(name, rng):
    """Bytes of a table of random blocks whose half-precision numbers are finite."""
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (ROWS, WIDTH // values, size), dtype=np.uint8)
    for at in HALVES[name]:
        blocks[..., at + 1] &= 0xBF
    if name == "BF16":
        blocks[..., 1] &= 0xBF
    return blocks.reshape(ROWS, -1)


def write(path, name, data, splits=1):
    """The table as a file, or in as many splits; returns the first path."""
    paths = [path]
    if splits > 1:
        paths = [f"{path}-{i + 1:05}-of-{splits:05}.gguf" for i in range(splits)]
    for i, part in enumerate(paths):
        writer = gguf.GGUFWriter(part, "llama")
        if splits > 1:
            writer.add_uint16("split.no", i)
            writer.add_uint16("split.count", splits)
            writer.add_int32("split.tensors.count", splits)
        if i == 0:
            writer.add_token_list([f"token{k}" for k in range(ROWS)])
        if i == splits - 1:
            kind = gguf.GGMLQuantizationType[name]
            if data.dtype == np.uint8:
                writer.add_tensor("token_embd.weight", data, raw_dtype=kind)
            else:
                writer.add_tensor("token_embd.weight", data)
        else:
            writer.add_tensor(f"blk.{i}.weight", np.ones((4, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths[0]


def set_version(path, version):
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(version.to_bytes(4, "little"))


def ours(dump, path):
    out = path + ".f32"
    subprocess.run([dump, path, "token_embd.weight", out], check=True)
    return np.fromfile(out, np.float32).reshape(ROWS, WIDTH)


def check(what, mine, theirs):
    wrong = np.count_nonzero((mine.view(np.int32) != theirs.view(np.int32)) & (mine != theirs))
    if wrong > 0:
        sys.exit(f"{what}: {wrong} of {mine.size} values differ")
    print(f"{what:24} equal")


def tables(rng):
    """Name, what it is, bytes as stored, values by the package."""
    numbers = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    for name in HALVES:
        kind = gguf.GGMLQuantizationType[name]
        data = random_blocks(name, rng)
        yield name, "random blocks", data, gguf.quants.dequantize(data, kind)
        try:
            data = gguf.quants.quantize(numbers, kind)
        except NotImplementedError:
            continue
        yield name, "quantised", data, gguf.quants.dequantize(data, kind)


def main(dump):
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, what, data, theirs in tables(rng):
            path = write(os.path.join(folder, "t.gguf"), name, data.view(np.uint8))
            for version in 3, 2:
                set_version(path, version)
                mine = ours(dump, path)
                check(f"{name} v{version}, {what}", mine, theirs)
            split = write(os.path.join(folder, "s"), name, data.view(np.uint8), splits=3)
            check(f"{name}, in three splits", ours(dump, split), theirs)


main(sys.argv[1])
