"""Ways to damage a file: bytes, text, JSON and YAML trees, tensors, archives, and what lies in the file's place."""

from __future__ import annotations

import copy
import gzip
import json
import math
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any


_BEGINNINGS = (
    b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PAR1", b"\x80\x04\x95", b"\x93NUMPY\x01\0",
    b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>\n", b"%PDF-1.7\n", b"\xff\xfe", b"\xef\xbb\xbf",
    b"<<<<<<< HEAD\n",
)  # fmt: skip
_PIECES = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b"\\", b",", b"#", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80",
    "\u2028".encode(), "\u0085".encode(), "\u00a0".encode(), "\u0301".encode(), b"\x1a", b"\x7f", b"\n\n\n",
    b"a" * 200_000, b'"' + b"x" * 200_000, b"[" * 100_000, b'{"a":' * 100_000, b"- " * 5_000, b"9" * 5_000,
)  # fmt: skip
_NUMBERS = (
    "nan", "NaN", "inf", "-Infinity", "1e999", "-1", "0", "", "1e-400", "99999999999999999999999", "9" * 5000, "0x10",
    "1_000", "\uff11\uff12", "\u00b2", "1.5", "--1", "true", "None", "\u0661", "2147483648", "-9223372036854775809",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, math.nan, math.inf, 1e308, 2**31, 2**63, 2**70, -(2**63) - 1, "", " ", "x", "\0", "a\nb",
    "../x", "/etc/passwd", "cpu:99", "x" * 100_000, "<img src=x onerror=alert(1)>", [], [None], [[]], [1, "a"], {}, {"": None},
    {"a": {"b": [1]}}, [0] * 1000,
)  # fmt: skip


def bytes_of(data: bytes, rng: random.Random) -> bytes:
    """Cut, flipped, doubled, moved, or with something in it."""
    place, other = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    near = min(len(data), place + rng.choice((1, 2, 4, 8, 64)))
    kind = rng.randrange(10)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return rng.choice(_BEGINNINGS) + (data if rng.random() < 0.5 else b"")
    if kind in (2, 3) and data:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20))):
            # What stands first says what the rest is.
            at = rng.randrange(min(len(data), rng.choice((16, 128, len(data)))))
            changed[at] = rng.choice((changed[at] ^ (1 << rng.randrange(8)), 0, 255, 127, rng.randrange(256)))
        return bytes(changed)
    if kind == 4:
        return data[:place] + data[near:]
    if kind == 5:
        return data[:place] + data[place:other] + data[place:]
    if kind == 6:
        return data[:place] + bytes(near - place) + data[near:]
    if kind == 7:
        return data[:place] + rng.randbytes(rng.choice((1, 4, 100))) + data[place:]
    if kind == 8:
        return data[:place] + rng.choice(_PIECES) + data[place:]
    return data[other:] + data[place:other] + data[:place]


def text(data: bytes, rng: random.Random) -> bytes:
    """Lines, fields and numbers: lost, doubled, moved, of another kind."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    row = rng.randrange(len(lines))
    kind = rng.randrange(9)
    if kind == 0:
        del lines[row]
    elif kind == 1:
        lines.insert(row, lines[rng.randrange(len(lines))])
    elif kind == 2:
        lines.insert(row, rng.choice(("", " ", "\t", "\u3000", "#", "\t\t\t", ",,,", "{}", "[]", "null", "1")))
    elif kind == 3:
        ending = rng.choice(("\r\n", "\r", "\u2028", "\v", "\n\n"))
        return ending.join(lines).encode("utf-8", "surrogateescape")
    elif kind == 4:
        lines[row] = rng.choice(("\t", " ", ",", ":", '"')).join(lines[row].split(rng.choice(("\t", " ", ","))))
    else:
        separator = rng.choice([mark for mark in "\t ,:" if mark in lines[row]] or [" "])
        fields = lines[row].split(separator)
        at = rng.randrange(len(fields))
        if kind == 5:
            fields[at] = rng.choice(("", " ", '"', "x" * 140_000, '"' + "y" * 140_000 + '"', "\0", "\ufeff", "a\rb"))
        elif kind == 6:
            fields.insert(at, rng.choice(fields))
        elif kind == 7:
            del fields[at]
        else:
            fields[at] = rng.choice(_NUMBERS)
        lines[row] = separator.join(fields)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def tree(value: Any, rng: random.Random) -> Any:
    """A JSON value with one of its parts lost, renamed, or of another kind."""
    value = copy.deepcopy(value)
    holders: list[tuple[Any, Any]] = []

    def walk(part: Any, depth: int) -> None:
        inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for number, (key, item) in enumerate(inside):
            # Of long lists and deep places some.
            if number < 12 or rng.random() < 0.02:
                holders.extend([(part, key)] * max(1, 4 - depth))
                walk(item, depth + 1)

    walk(value, 0)
    if not holders or rng.random() < 0.03:
        return rng.choice(_VALUES)
    holder, key = rng.choice(holders)
    kind = rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif kind == 2:
        holder[key] = [holder[key]]
    else:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return value


def json_of(data: bytes, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.15:
        return (bytes_of if rng.random() < 0.5 else text)(data, rng)
    if kind < 0.2:
        deep = rng.choice(
            ("[" * 100_000, '{"a":' * 100_000, "[" * 3_000 + "]" * 3_000, '{"a":' * 900 + "1" + "}" * 900)
        )
        return deep.encode()
    if kind < 0.23:
        return data.rstrip() + b"\n" + data
    return json.dumps(tree(json.loads(data), rng)).encode()


def json_lines(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return text(data, rng)
    lines = data.decode().splitlines()
    row = rng.randrange(len(lines))
    lines[row] = json_of(lines[row].encode(), rng).decode("utf-8", "surrogateescape")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


_YAML = (
    b"!!python/object/apply:os.system ['false']\n", b"a: &a [x,x,x,x,x,x,x,x,x]\n", b"\t- a\n", b"[" * 20_000, b"{a: " * 5_000,
    b"- - - - -\n" * 1000, b"? ", b"--- \n---\n", b"%YAML 9.9\n---\n", b"&x *x\n", b"<<: 3\n", b"2001-99-99: x\n",
    b"a: 2001-99-99\n", b"1: 2\n", b"? [a]\n: b\n", b"a: !!int x\n", b"a: !!float y\n", b"~: x\n",
    b"a: &a [l,l,l,l,l,l,l,l,l]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    b"seed: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
)  # fmt: skip


def yaml_of(data: bytes, rng: random.Random) -> bytes:
    import yaml

    kind = rng.random()
    if kind < 0.25:
        return (bytes_of if rng.random() < 0.5 else text)(data, rng)
    if kind < 0.4:
        piece = rng.choice(_YAML)
        return data + piece if rng.random() < 0.5 else piece
    return yaml.safe_dump(tree(yaml.safe_load(data), rng), allow_unicode=True).encode("utf-8", "surrogateescape")


def _tensor(tensor: Any, rng: random.Random) -> Any:
    """Another one in a tensor's place."""
    import torch

    kind = rng.randrange(9)
    if kind < 2 and tensor.numel():
        tensor = tensor.clone()
        value = (
            rng.choice((math.nan, math.inf, -1, 1 << 30)) if tensor.is_floating_point() else rng.choice((-1, 1 << 30))
        )
        tensor.view(-1)[rng.randrange(tensor.numel())] = value
        return tensor
    if kind == 2:
        return tensor.to(
            rng.choice((torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int8, torch.bool))
        )
    if kind == 3:
        return tensor[: rng.randrange(len(tensor))] if tensor.dim() else tensor.reshape(1)
    if kind == 4:
        return tensor.reshape(-1)
    if kind == 5:
        return tensor.unsqueeze(rng.randrange(tensor.dim() + 1))
    if kind == 6:
        return tensor.new_zeros(0)
    if kind == 7:
        return tensor.flip(0) if tensor.dim() else tensor
    return tensor.transpose(0, 1).contiguous() if tensor.dim() > 1 else torch.stack([tensor, tensor])


def safetensors_of(data: bytes, rng: random.Random) -> bytes:
    import safetensors.torch

    size = int.from_bytes(data[:8], "little")
    kind = rng.random()
    if kind < 0.3:
        return bytes_of(data, rng)
    if kind < 0.6:
        header = json.dumps(tree(json.loads(data[8 : 8 + size]), rng)).encode()
        return len(header).to_bytes(8, "little") + header + data[8 + size :]
    tensors = dict(sorted(safetensors.torch.load(data).items()))  # which come in another order in each process
    name = rng.choice(list(tensors))
    if rng.random() < 0.15:
        del tensors[name]
    elif rng.random() < 0.1:
        tensors[f"{name}.x"] = tensors.pop(name)
    else:
        tensors[name] = _tensor(tensors[name], rng).contiguous()
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__")
    return safetensors.torch.save(tensors, metadata)


def torch_of(data: bytes, rng: random.Random) -> bytes:
    """A dictionary that torch.save wrote, its parts sparse, quantized, mixed, nested or missing."""
    import io

    import torch

    if rng.random() < 0.3:
        return bytes_of(data, rng)
    content = torch.load(io.BytesIO(data), weights_only=True)
    key = rng.choice(list(content))
    value = content[key]
    if isinstance(value, torch.Tensor) and rng.random() < 0.8:
        made = [
            lambda: value.to_sparse(), lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
            lambda: value.tolist(), lambda: value.to(torch.complex64), lambda: value.to("meta"), lambda: value.numpy().tolist(),
            lambda: torch.nn.Parameter(value.float()), lambda: value.expand(2, *value.shape), lambda: value.to_sparse_csr(),
            *[lambda: _tensor(value, rng)] * 6,
        ]  # fmt: skip
        content[key] = rng.choice(made)()
    elif isinstance(value, list) and value and rng.random() < 0.7:
        value[rng.randrange(len(value))] = rng.choice(
            (None, 1, "", b"x", ["a"], "a b", "a\nb", "\ud800", 2**70, math.nan)
        )
    else:
        content = rng.choice((
            {**content, key: rng.choice((None, 3, "abc", [], {}, {"a": 1, 2: "b"}, {1: 2}, torch.ones(2), set("ab"), 2**70))},
            {k: v for k, v in content.items() if k != key}, list(content.values()), value, [content], {1: content}, (),
            {**content, 3: 4}, torch.nn.Linear(2, 2).state_dict(), None,
        ))  # fmt: skip
    stream = io.BytesIO()
    old = rng.random() < 0.2
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def parquet_of(data: bytes, rng: random.Random) -> bytes:
    """A table with a column of another kind, or bytes that are damaged."""
    import io

    import pyarrow as pa
    import pyarrow.parquet

    if rng.random() < 0.6:
        # Footer and page headers say the most.
        if rng.random() < 0.5:
            cut = rng.randrange(max(1, len(data) - 400), len(data))
            return data[:cut] + bytes_of(data[cut:], rng)
        return bytes_of(data, rng)
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    at = rng.randrange(len(table.column_names))
    name, rows = table.column_names[at], table.num_rows
    values = rng.choice((
        [None] * rows, [1] * rows, [[1]] * rows, [b"\xff"] * rows, [{"a": 1}] * rows, [1.5] * rows, [["a", None]] * rows, [True] * rows,
        ["a\nb"] * rows, [""] * rows, pa.array(["x"] * rows, pa.large_string()), pa.array(["x"] * rows).dictionary_encode(),
    ))  # fmt: skip
    kind = rng.randrange(4)
    if kind == 0:
        table = table.drop_columns([name])
    elif kind == 1:
        table = table.rename_columns([f"{column}x" if column == name else column for column in table.column_names])
    elif kind == 2:
        table = table.slice(0, 0)
    else:
        table = table.set_column(at, name, values if isinstance(values, pa.Array) else pa.array(values))
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


def integers_of(data: bytes, rng: random.Random) -> bytes:
    """Numbers at the head of a binary file, as of fastText's models."""
    if rng.random() < 0.4:
        return bytes_of(data, rng)
    wide = rng.random() < 0.3
    at = rng.randrange(min(len(data) - 8, rng.choice((96, 96, len(data) - 8))) // 4) * 4
    number = rng.choice((-1, 0, 1, 2, 3, 1000, 1 << 20, (1 << 31) - 1, -(1 << 31)))
    packed = struct.pack("<q", rng.choice((number, 1 << 40, 1 << 62))) if wide else struct.pack("<i", number)
    return data[:at] + packed + data[at + len(packed) :]


def packed(inner: Callable[[bytes, random.Random], bytes], kind: str) -> Callable[[bytes, random.Random], bytes]:
    """Damages what is in a packed file, or the packing."""

    def damage(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return bytes_of(data, rng)
        if kind == "gz":
            return gzip.compress(inner(gzip.decompress(data), rng), mtime=0)
        import zstandard

        return zstandard.compress(inner(zstandard.decompress(data, max_output_size=1 << 24), rng))

    return damage


BY_ENDING: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".json": json_of, ".jsonl": json_lines, ".yaml": yaml_of, ".safetensors": safetensors_of, ".pt": torch_of,
    ".parquet": parquet_of, ".bin": integers_of, ".md": text, ".npy": bytes_of, ".npz": bytes_of, ".model": bytes_of,
}  # fmt: skip


def damage_of(name: str) -> Callable[[bytes, random.Random], bytes]:
    """What damages a file of that name best."""
    stem, dot, ending = name.rpartition(".")
    if ending in ("gz", "zst"):
        return packed(damage_of(stem), ending)
    either = BY_ENDING.get(dot + ending)
    if either is None:
        return lambda data, rng: (text if rng.random() < 0.65 else bytes_of)(data, rng)
    return either


def in_its_place(path: Path, rng: random.Random, alone: bool) -> None:
    """Nothing, a folder, an empty file, a link to nothing or to itself, in the place of a file; or, alone, a pipe."""
    path.unlink()
    kind = rng.randrange(6 if alone else 5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.touch()
    elif kind == 2:
        path.symlink_to("nothing")
    elif kind == 3:
        path.symlink_to(path.name)
    elif kind == 5:  # inside a model's folder Transformers would wait for it
        os.mkfifo(path)


def damage(path: Path, rng: random.Random, alone: bool) -> None:
    """Damages a file, now and then more than once."""
    if rng.random() < 0.04:
        in_its_place(path, rng, alone)
        return
    data = path.read_bytes()
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            data = damage_of(path.name)(data, rng)
        except Exception:  # so damaged that its own format can't be changed any more
            data = bytes_of(data, rng)
    path.write_bytes(data)
