#!/usr/bin/env python3
"""Write small files in all formats of torch.save, for the tests of package weights.

    python3 bench/peers/pth_fixtures.py weights/testdata

zip.pth and stream.pth are written by PyTorch itself. tar.pth is put together here as PyTorch 0.1.9
under Python 2 did it (ordered dicts as lists of pairs, parameters instead of tensors), and read back
with torch.load before it counts. expected.json holds every tensor's shape and values.

Recorded with PyTorch 1.13.
"""
import argparse
import collections
import io
import json
import pickle
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import torch
from torch import nn


def state():
    """Tensors of every kind that weights come in; every value is exact in each type."""
    base = torch.arange(24, dtype=torch.float32) / 4 - 2
    s = collections.OrderedDict()
    s["conv1.weight"] = base[:12].reshape(2, 3, 2)
    s["transposed"] = base[:6].reshape(2, 3).t()
    s["view"] = base[5:9]
    s["step"] = base.reshape(4, 6)[1:3, ::2]
    s["double"] = (base[:3] * 2).double()
    s["half"] = torch.tensor([1.5, -2.0**-14, 2.0**-24, 65504.0, float("inf")]).half()
    s["bfloat16"] = torch.tensor([1.5, -3.0, 2.0**100]).bfloat16()
    s["parameter"] = nn.Parameter(base[:2].clone())
    s["bn1.num_batches_tracked"] = torch.tensor(7)
    s["int32"] = torch.tensor([-5, 70000], dtype=torch.int32)
    s["int16"] = torch.tensor([-300], dtype=torch.int16)
    s["int8"] = torch.tensor([-7], dtype=torch.int8)
    s["uint8"] = torch.tensor([200], dtype=torch.uint8)
    s["bool"] = torch.tensor([True, False])
    s["empty"] = torch.zeros(0, 3)
    s._metadata = collections.OrderedDict([("", {"version": 1})])
    return s


def record(s):
    return {
        k: {"shape": list(v.shape), "values": [str(float(x)) for x in v.detach().double().flatten()]}
        for k, v in s.items()
    }


def wrapped(s):
    return collections.OrderedDict(("module." + k, v) for k, v in s.items())


def training(s):
    """What training scripts save: the state dict among other things, some of them unknown classes."""
    optimizer = torch.optim.SGD([s["parameter"]], lr=0.1, momentum=0.9)
    return {
        "epoch": 3,
        "arch": "resnet50",
        "args": argparse.Namespace(lr=0.1, data="x", rate=1e300, big=2**70, blob=b"\x00\xff"),
        "best": {1, 2},
        "state_dict": wrapped(s),
        "optimizer": optimizer.state_dict(),
    }


class Pairs:
    """Pickles as Python 2 pickled an ordered dict."""

    def __init__(self, d):
        self.pairs = [[k, v] for k, v in d.items()]

    def __reduce__(self):
        return collections.OrderedDict, (self.pairs,)


class Old:
    """Pickles as a Parameter of PyTorch 0.1 did."""

    def __init__(self, t):
        self.t = t

    def __reduce__(self):
        return nn.Parameter, (self.t,), (True, False, collections.OrderedDict())


STORAGES = {torch.float32: torch.FloatStorage, torch.float64: torch.DoubleStorage, torch.int64: torch.LongStorage}
TENSORS = {torch.float32: torch.FloatTensor, torch.float64: torch.DoubleTensor, torch.int64: torch.LongTensor}


def tar(s):
    """The archive of PyTorch 0.1, which had few types."""
    dump = lambda o: pickle.dumps(o, 2)
    keep = {k: v.detach() for k, v in s.items() if v.dtype in STORAGES and v.numel()}
    storages, tensors, keys = [], [], {}
    for k, v in keep.items():
        st = v.storage()
        if st.data_ptr() not in keys:
            keys[st.data_ptr()] = 1000 + len(keys)
            data = torch.tensor([], dtype=v.dtype).set_(st).numpy().tobytes()
            storages.append(dump((keys[st.data_ptr()], "cpu", STORAGES[v.dtype])) + struct.pack("<q", st.size()) + data)
        number = 2000 + len(tensors)
        tensors.append(
            dump((number, keys[st.data_ptr()], TENSORS[v.dtype]))
            + struct.pack("<ii", v.dim(), 0)
            + struct.pack(f"<{2 * v.dim() + 1}q", *v.shape, *v.stride(), v.storage_offset())
        )
        keep[k] = (number, k == "parameter", v)

    class Pickler(pickle.Pickler):
        def persistent_id(self, o):
            return getattr(o, "number", None)

    class Ref:
        def __init__(self, number):
            self.number = number

    out = io.BytesIO()
    Pickler(out, 2).dump(Pairs({k: Old(Ref(n)) if p else Ref(n) for k, (n, p, _) in keep.items()}))
    members = {
        "sys_info": dump({"protocol_version": 1000, "little_endian": True}),
        "pickle": out.getvalue(),
        "tensors": dump(len(tensors)) + b"".join(tensors),
        "storages": dump(len(storages)) + b"".join(storages) + dump([]),
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue(), {k: v for k, (_, _, v) in keep.items()}


def main(folder):
    folder = Path(folder)
    s = state()
    torch.save(s, folder / "zip.pth")
    torch.save(wrapped(s), folder / "stream.pth", _use_new_zipfile_serialization=False)
    torch.save(training(s), folder / "training.pth")
    torch.save(training(s), folder / "training4.pth", pickle_protocol=4)
    torch.save(nn.Linear(1, 1), folder / "module.pth")
    data, kept = tar(s)
    (folder / "tar.pth").write_bytes(data)
    back = torch.load(folder / "tar.pth")
    assert list(back) == list(kept) and all(torch.equal(back[k], v) for k, v in kept.items())
    expected = {"all": record(s), "tar": list(kept)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for p in sorted(folder.glob("*.pth")):
        print(p.name, p.stat().st_size, "bytes, zip" if zipfile.is_zipfile(p) else "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
