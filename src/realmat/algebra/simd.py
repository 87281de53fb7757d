"""SIMD: vector instructions on arrays whose last axis holds eight values of psi, a lane each.

A sparse factorisation scatters its updates, and a compiler finds nothing to do side by side in it. Eight factorisations of one pattern
do the same to eight neighbouring numbers: one load, one multiply-add and one store each. Numba's own loops over so short an axis are
not turned into vector instructions, so they are written out here. Its cache does not see changes in this file: whoever makes one also
touches `batch_kernels.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
_NUMBER = ir.DoubleType()
_VECTOR = ir.VectorType(_NUMBER, LANES)
_FUSED = ("contract",)  # a multiplication and an addition may be one instruction


def _row(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to the eight numbers of a row."""
    data = context.make_array(kind)(context, builder, array).data
    start = builder.mul(index, ir.Constant(index.type, LANES))
    return builder.bitcast(builder.gep(data, [start]), _VECTOR.as_pointer())


def _splat(builder: Any, number: Any) -> Any:
    single = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _generator(add: bool) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, p, left, i, right, j, factor = args
        kinds = signature.args
        target = _row(context, builder, kinds[0], out, p)
        a = builder.load(_row(context, builder, kinds[2], left, i), align=8)
        b = builder.load(_row(context, builder, kinds[4], right, j), align=8)
        value = builder.fmul(builder.fmul(a, _splat(builder, factor)), b, flags=_FUSED)
        if add:
            value = builder.fadd(builder.load(target, align=8), value, flags=_FUSED)
        builder.store(value, target, align=8)
        return context.get_dummy_value()

    return generate


def _signature(out: Any, left: Any, right: Any) -> Any:
    index = types.intp
    return types.void(out, index, left, index, right, index, types.float64)


@intrinsic
def add_product(typingctx: Any, out: Any, p: Any, left: Any, i: Any, right: Any, j: Any, factor: Any) -> Any:
    """``out[p] += factor * left[i] * right[j]``, each a row of eight numbers of a contiguous array; no bounds are checked."""
    return _signature(out, left, right), _generator(add=True)


@intrinsic
def set_product(typingctx: Any, out: Any, p: Any, left: Any, i: Any, right: Any, j: Any, factor: Any) -> Any:
    """``out[p] = factor * left[i] * right[j]``, as `add_product`."""
    return _signature(out, left, right), _generator(add=False)


def pack(x: np.ndarray) -> np.ndarray:
    """Rows (n, k) side by side, shape (blocks, k, 8); the last row stands in for those that are missing."""
    n, k = x.shape
    count = -(-n // LANES)
    if n < count * LANES:
        x = np.concatenate([x, np.broadcast_to(x[-1:], (count * LANES - n, k))])
    return np.ascontiguousarray(x.reshape(count, LANES, k).swapaxes(1, 2))


def unpack(x: np.ndarray, n: int) -> np.ndarray:
    """Inverse of `pack`: shape (n, k)."""
    count, k, _ = x.shape
    return x.swapaxes(1, 2).reshape(count * LANES, k)[:n]
