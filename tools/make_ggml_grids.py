#!/usr/bin/env python3
"""Writes src/formats/ggml_grids_data.cc: the codebooks of ggml's IQ types.

The numbers are facts of the format; they are taken from the Python package `gguf` (MIT), which has
them from ggml-common.h. Each point of a grid is packed into 16 bits: the places of its values in the
list of values that the grid uses, the first value in the lowest bits.

    python3 tools/make_ggml_grids.py > src/formats/ggml_grids_data.cc    (needs the package gguf)
"""
from gguf import quants

GRIDS = [("kIq2XxsGrid", quants.IQ2_XXS, 2), ("kIq2XsGrid", quants.IQ2_XS, 2),
         ("kIq2SGrid", quants.IQ2_S, 2), ("kIq3XxsGrid", quants.IQ3_XXS, 3),
         ("kIq3SGrid", quants.IQ3_S, 3), ("kIq1Grid", quants.IQ1_S, 2)]


def main():
    print("// The codebooks of ggml's IQ types; made by tools/make_ggml_grids.py. How the points are")
    print("// packed: ggml_grids.h.")
    print('#include "formats/ggml_grids.h"\n\nnamespace qualm {\n')
    for name, quant, bits in GRIDS:
        quant.init_grid()
        grid = quant.grid.reshape(quant.grid_shape)
        values = sorted(set(int(v) for v in grid.flatten()))
        words = [sum(values.index(int(v)) << (bits * i) for i, v in enumerate(row)) for row in grid]
        print(f"// Values {', '.join(map(str, values))}.")
        print(f"const std::array<uint16_t, {len(words)}> {name} = {{")
        for at in range(0, len(words), 12):
            print("    " + ", ".join(map(str, words[at:at + 12])) + ",")
        print("};\n")
    print("}  // namespace qualm")


main()
