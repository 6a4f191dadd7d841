#!/usr/bin/env python3
"""Compare what onnxruntime computes from an exported network with our engine's embeddings.

    python3 bench/peers/onnx_check.py MODEL.onnx VALUES.safetensors

VALUES holds "images" (N x 3 x S x S) and "embeddings" (N x D). Prints one JSON object with the
largest difference, for all rows at once and row by row. Run by `go test ./weights/ -run
TestONNXRuntime` with METRIX_ONNXRUNTIME_PYTHON set to a Python that has onnxruntime and numpy; the
package onnx, if there, checks the file against the standard too.
"""
import json
import struct
import sys

import numpy as np
import onnxruntime


def read(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        data = f.read()
    return {
        k: np.frombuffer(data[slice(*v["data_offsets"])], dtype="<f4").reshape(v["shape"])
        for k, v in header.items()
        if k != "__metadata__"
    }


def check(path):
    try:
        import onnx
    except ImportError:
        return "not installed"
    onnx.checker.check_model(path, full_check=True)
    return "ok"


def main(model, values):
    v = read(values)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (inp,), (out,) = session.get_inputs(), session.get_outputs()
    together = session.run([out.name], {inp.name: v["images"]})[0]
    alone = np.concatenate([session.run([out.name], {inp.name: x[None]})[0] for x in v["images"]])
    want = v["embeddings"]
    assert together.shape == want.shape, (together.shape, want.shape)
    print(
        json.dumps(
            {
                "onnxruntime": onnxruntime.__version__,
                "checker": check(model),
                "difference": float(np.abs(together - want).max()),
                "alone": float(np.abs(alone - want).max()),
                "metadata": session.get_modelmeta().custom_metadata_map,
                "input": [inp.name, [d if isinstance(d, int) else -1 for d in inp.shape]],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
