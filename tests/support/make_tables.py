#!/usr/bin/env python3
"""Writes tables of every type in many forms of Parquet and Arrow, each with the rows it has as JSON.

    make_tables.py FOLDER     exit code 77 where pyarrow is not installed

The rows of FORM.parquet are in FORM.parquet.json. Values are those that docs/data.md
promises: dates and times as Python prints them, decimals as texts, maps as lists of keys and values,
bytes that are not text as "<unreadable>".
"""
import datetime
import decimal
import itertools
import json
import sys
from pathlib import Path

try:
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet as pq
except ImportError:
    sys.exit(77)

ROWS = 60
UTC = datetime.timezone.utc


def every(values, step=7):
    """The values again and again, with a null at every `step`th place."""
    cycle = itertools.cycle(values)
    return [None if i % step == step - 1 else next(cycle) for i in range(ROWS)]


def moment(i):
    return datetime.datetime(1969, 12, 31, 23, 59, 58) + datetime.timedelta(
        days=i * 397, seconds=i, microseconds=i * 100001)


def columns():
    """Name -> array, for types that Parquet has."""
    d = decimal.Decimal
    made = {
        "text": pa.array(every(["a", "天空", "", "x" * 40, 'say "hi"\n', "👩‍👩‍👧"])),
        "required": pa.array([f"row {i}" for i in range(ROWS)]),
        "large": pa.array(every(["p", "prefix", "prefix one", "prefix two"]), pa.large_string()),
        "flag": pa.array(every([True, False, False])),
        "all_null": pa.array([None] * ROWS, pa.int32()),
        "null_type": pa.nulls(ROWS),
        "f16": pa.array(every([0.5, -2.0, 0.0999755859375]), pa.float16()),
        "f32": pa.array(every([0.1, -1e30, 3.0]), pa.float32()),
        "f64": pa.array(every([0.1, -1e300, 5e-324])),
        "date32": pa.array(every([moment(i).date() for i in range(9)]), pa.date32()),
        "raw": pa.array(every([b"abc", b"\xff\xfe", b""])),
        "fixed": pa.array(every([b"abcd", b"\xff\xff\xff\xff"]), pa.binary(4)),
        "category": pa.array(every(["red", "green", "blue"])).dictionary_encode(),
        "list": pa.array(every([[], ["a"], ["a", None, "c"]])),
        "list_list": pa.array(every([[], [[]], [[1, 2], None, [3]], [[None]]]),
                              pa.list_(pa.list_(pa.int64()))),
        "fixed_list": pa.array(every([[1, 2], [3, None]]), pa.list_(pa.int16(), 2)),
        "struct": pa.array(every([{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}])),
        "deep": pa.array(every([[{"n": [{"t": "x"}, {"t": None}], "k": 1}], [],
                                [None, {"n": None, "k": 2}, {"n": [], "k": None}]])),
        "map": pa.array(every([[("a", 1), ("b", None)], []]), pa.map_(pa.string(), pa.int64())),
    }
    for bits in (8, 16, 32, 64):
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        made[f"i{bits}"] = pa.array(every([0, 1, -1, low, high, 17]), f"int{bits}")
        made[f"u{bits}"] = pa.array(every([0, 1, (1 << bits) - 1, 99]), f"uint{bits}")
    for unit in ("s", "ms", "us"):
        scale = {"s": 1, "ms": 1000, "us": 1000000}[unit]
        counts = every([int(moment(i).replace(tzinfo=UTC).timestamp() * scale) for i in range(9)])
        made[f"time_{unit}"] = pa.array(counts, pa.timestamp(unit))
        made[f"utc_{unit}"] = pa.array(counts, pa.timestamp(unit, "UTC"))
        made[f"span_{unit}"] = pa.array(every([1, -5, 7]), pa.duration(unit))
    made["time_ns"] = pa.array(every([0, 1, 10**18 + 1, -1]), pa.timestamp("ns"))
    made["clock_ms"] = pa.array(every([0, 1, 86399999]), pa.time32("ms"))
    made["clock_us"] = pa.array(every([0, 1, 86399999999]), pa.time64("us"))
    made["clock_ns"] = pa.array(every([0, 1000, 86399999999000]), pa.time64("ns"))
    for digits in (5, 12, 30):
        made[f"dec{digits}"] = pa.array(every([d("12.345"), d("-0.001"), d("0"), d("99.999")]),
                                        pa.decimal128(digits, 3))
    made["dec60"] = pa.array(every([d(10**50 + 1), d(-5)]), pa.decimal256(60, 0))
    return made


def arrow_only():
    """Types that only Arrow has."""
    small = pa.array([1, 2, 3, None] * (ROWS // 4))
    texts = pa.array(["a", None, "ccc", "a longer text than twelve"] * (ROWS // 4))
    ids = pa.array([0, 1] * (ROWS // 2), pa.int8())
    offsets = pa.array([i // 2 for i in range(ROWS)], pa.int32())
    runs = pa.array([10, 25, ROWS], pa.int32())
    made = {
        "view": texts.cast(pa.string_view()),
        "binary_view": pa.array([b"x", b"\xff" * 20, None] * (ROWS // 3), pa.binary_view()),
        "large_list": pa.array(every([[1], [], [2, None]]), pa.large_list(pa.int32())),
        "list_view": pa.array(every([[1], [], [2, None]]), pa.list_view(pa.int32())),
        "sparse": pa.UnionArray.from_sparse(ids, [small, texts]),
        "dense": pa.UnionArray.from_dense(ids, offsets, [small, texts]),
        "runs": pa.RunEndEncodedArray.from_arrays(runs, pa.array(["x", None, "z"])),
        "date64": pa.array(every([86400000 * 5, 0]), pa.date64()),
        "clock_s": pa.array(every([0, 86399]), pa.time32("s")),
        "span_ns": pa.array(every([1, 2]), pa.duration("ns")),
        "u8_index": pa.DictionaryArray.from_arrays(pa.array([1, None, 0] * (ROWS // 3), pa.uint8()),
                                                   pa.array(["one", "two"])),
        "list_of_categories": pa.ListArray.from_arrays(
            pa.array(range(ROWS + 1), pa.int32()),
            pa.array(["m", "n", "o", "m"] * (ROWS // 4)).dictionary_encode()),
    }
    for bits, kind in ((32, "decimal32"), (64, "decimal64")):
        if hasattr(pa, kind):
            made[f"dec_{bits}"] = pa.array(every([decimal.Decimal("1.50")]), getattr(pa, kind)(5, 2))
    return made


def value_of(value, kind):
    """A Python value as qualm's JSON has it."""
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_run_end_encoded(kind):
        kind = kind.value_type
    if value is None:
        return None
    if types.is_map(kind):
        return [{"key": value_of(k, kind.key_type), "value": value_of(v, kind.item_type)}
                for k, v in value]
    if hasattr(kind, "value_type") and isinstance(value, list):
        return [value_of(one, kind.value_type) for one in value]
    if types.is_struct(kind):
        return {kind.field(i).name: value_of(value[kind.field(i).name], kind.field(i).type)
                for i in range(kind.num_fields)}
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return "<unreadable>"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return str(value)
    return value


def nanoseconds(count, per_day):
    """Counts of nanoseconds, for which Python has no type."""
    days, rest = divmod(count, 86400 * 10**9)
    clock = str(datetime.time(rest // 3600 // 10**9, rest // 60 // 10**9 % 60, rest // 10**9 % 60))
    clock += f".{rest % 10**9:09d}" if rest % 10**9 else ""
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    return f"{date} {clock}" if per_day else clock


def rows_of(table):
    rows = [{} for _ in range(table.num_rows)]
    for name, column in zip(table.column_names, table.columns):
        kind = column.type
        if pa.types.is_duration(kind):
            values = column.cast(pa.int64()).to_pylist()
        elif kind in (pa.timestamp("ns"), pa.time64("ns")):
            values = [None if v is None else nanoseconds(v, pa.types.is_timestamp(kind))
                      for v in column.cast(pa.int64()).to_pylist()]
        else:
            values = [value_of(v, kind) for v in column.to_pylist()]
        for row, value in zip(rows, values):
            row[name] = value
    return rows


def parquet_forms():
    """Name -> options of write_table."""
    forms = {}
    for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
        for page in ("1.0", "2.0"):
            forms[f"{codec}_v{page[0]}"] = {"compression": codec, "data_page_version": page}
    forms["plain"] = {"use_dictionary": False}
    forms["old"] = {"version": "1.0", "use_compliant_nested_type": False}
    forms["small_pages"] = {"data_page_size": 30, "write_batch_size": 3}
    forms["small_pages_v2"] = {"data_page_size": 30, "write_batch_size": 3, "data_page_version": "2.0"}
    forms["groups"] = {"row_group_size": 7}
    forms["int_decimals"] = {"store_decimal_as_integer": True}
    forms["int96"] = {"use_deprecated_int96_timestamps": True}
    forms["small_dictionary"] = {"dictionary_pagesize_limit": 10, "data_page_size": 50}
    return forms


ENCODINGS = {
    "DELTA_BINARY_PACKED": ["i32", "i64", "u32", "u64", "i8", "u16", "time_us", "date32", "dec5"],
    "DELTA_LENGTH_BYTE_ARRAY": ["text", "required", "large", "raw"],
    "DELTA_BYTE_ARRAY": ["text", "required", "large", "raw", "fixed", "dec30"],
    "BYTE_STREAM_SPLIT": ["f32", "f64", "i32", "i64", "fixed", "f16", "dec30"],
    "PLAIN": ["i32", "text", "flag", "f16", "fixed"],
    "RLE": ["flag"],
}


def main(folder):
    def finish(name, table):
        (folder / f"{name}.json").write_text(json.dumps(rows_of(table)))

    table = pa.table(columns())
    for form, options in parquet_forms().items():
        part = table
        if form == "old":  # has no nanoseconds
            part = part.drop_columns(["time_ns"])
        if form == "int96":  # has nothing else
            part = part.select([n for n in part.column_names if not n.startswith("utc_")])
        pq.write_table(part, folder / f"{form}.parquet", **options)
        if form == "int96":
            part = pa.table({n: c.cast(pa.timestamp("ns")) if pa.types.is_timestamp(c.type) else c
                             for n, c in zip(part.column_names, part.columns)})
        else:  # Parquet has no seconds: the types are those of a reader
            part = pq.read_table(folder / f"{form}.parquet")
        finish(f"{form}.parquet", part)
    for encoding, names in ENCODINGS.items():
        name = f"{encoding.lower()}.parquet"
        part = table.select(names)
        pq.write_table(part, folder / name, use_dictionary=False,
                       column_encoding={n: encoding for n in names},
                       store_decimal_as_integer=encoding == "DELTA_BINARY_PACKED")
        finish(name, pq.read_table(folder / name))

    writer = pq.ParquetWriter(folder / "empty_groups.parquet", table.schema)
    for part in (table.slice(0, 0), table.slice(0, 20), table.slice(0, 0), table.slice(20)):
        writer.write_table(part)
    writer.close()
    finish("empty_groups.parquet", pq.read_table(folder / "empty_groups.parquet"))

    made = columns()
    made.update(arrow_only())
    table = pa.table(made)
    for codec in (None, "lz4", "zstd"):
        options = pa.ipc.IpcWriteOptions(compression=codec)
        for kind, new in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
            name = f"{kind}_{codec or 'plain'}.arrow"
            with new(str(folder / name), table.schema, options=options) as out:
                for batch in table.to_batches(max_chunksize=25):
                    out.write_batch(batch)
            finish(name, table)

    # Dictionaries that grow or are replaced between batches.
    for deltas in (False, True):
        name = f"dictionaries_{'delta' if deltas else 'replaced'}.arrow"
        batches = [pa.record_batch({"c": pa.DictionaryArray.from_arrays(
            pa.array([0, n - 1, None], pa.int16()), pa.array([f"w{i}" for i in range(n)]))})
            for n in (2, 4)]
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
        with pa.ipc.new_stream(str(folder / name), batches[0].schema, options=options) as out:
            for batch in batches:
                out.write_batch(batch)
        finish(name, pa.concat_tables([pa.Table.from_batches([b]) for b in batches]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
