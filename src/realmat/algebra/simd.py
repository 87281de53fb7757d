"""SIMD: vector instructions on arrays whose last axis holds eight values of psi, a lane each.

A sparse factorisation scatters its updates, and a compiler finds nothing to do side by side in it. Eight factorisations of one pattern
do the same to eight neighbouring numbers: one load, one multiply-add and one store each. Numba's own loops over so short an axis are
not turned into vector instructions, so they are written out here. Its cache does not see changes in this file: whoever makes one also
touches `batch_kernels.py` and `blurred_kernels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
TOGETHER = 4  # columns whose updates share a load and a store
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


def _sums(context: Any, builder: Any, kinds: Any, args: Any, matrices: Sequence[int]) -> list[Any]:
    """``sum_k data[k] * rows[index[k]]`` for k from first to last, for several arrays of rows, whose places among the arguments are given.

    The last four arguments are index, data, first and last.
    """
    last = len(args) - 1
    columns, factors = (context.make_array(kinds[k])(context, builder, args[k]).data for k in (last - 3, last - 2))
    totals = [cgutils.alloca_once(builder, _VECTOR) for _ in matrices]  # stay in registers
    for total in totals:
        builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
    with cgutils.for_range_slice(builder, args[last - 1], args[last], ir.Constant(args[last].type, 1)) as (k, _):
        column = builder.sext(builder.load(builder.gep(columns, [k])), args[last].type)
        factor = _splat(builder, builder.load(builder.gep(factors, [k])))
        for total, m in zip(totals, matrices, strict=True):
            row = builder.load(_row(context, builder, kinds[m], args[m], column), align=8)
            builder.store(_added(builder, builder.load(total), factor, row), total)
    return [builder.load(total) for total in totals]


def _added(builder: Any, total: Any, left: Any, right: Any) -> Any:
    return builder.fadd(total, builder.fmul(left, right, flags=_FUSED), flags=_FUSED)


def _dot(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    (total,) = _sums(context, builder, signature.args, args, [2])
    builder.store(total, _row(context, builder, signature.args[0], args[0], args[1]), align=8)
    return context.get_dummy_value()


@intrinsic
def set_dot(typingctx: Any, out: Any, p: Any, rows: Any, index: Any, data: Any, first: Any, last: Any) -> Any:
    """``out[p] = sum_k data[k] * rows[index[k]]`` for k from first to last: a row of a sparse matrix times rows of eight numbers."""
    return types.void(out, types.intp, rows, index, data, types.intp, types.intp), _dot


def _paired(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kinds = signature.args
    out, p, left, start, right, index, first, last = args
    columns = context.make_array(kinds[5])(context, builder, index).data
    total = cgutils.alloca_once(builder, _VECTOR)  # stays in a register
    builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
    with cgutils.for_range_slice(builder, first, last, ir.Constant(first.type, 1)) as (k, _):
        column = builder.sext(builder.load(builder.gep(columns, [k])), first.type)
        own = _row(context, builder, kinds[2], left, builder.add(start, builder.sub(k, first)))
        other = _row(context, builder, kinds[4], right, column)
        builder.store(_added(builder, builder.load(total), builder.load(own, align=8), builder.load(other, align=8)), total)
    builder.store(builder.load(total), _row(context, builder, kinds[0], out, p), align=8)
    return context.get_dummy_value()


@intrinsic
def set_paired(typingctx: Any, out: Any, p: Any, left: Any, start: Any, right: Any, index: Any, first: Any, last: Any) -> Any:
    """``out[p] = sum_k left[start + k - first] * right[index[k]]`` for k from first to last."""
    return types.void(out, types.intp, left, types.intp, right, index, types.intp, types.intp), _paired


def _outer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kinds = signature.args
    out, p, ratio, rows, first, stride, count = args
    zero, one = ir.Constant(first.type, 0), ir.Constant(first.type, 1)
    ratios, starts = [], []
    for k in range(TOGETHER):
        number = ir.Constant(first.type, k)
        ratios.append(builder.load(_row(context, builder, kinds[2], ratio, number), align=8))
        starts.append(builder.add(first, builder.mul(stride, number)))
    with cgutils.for_range_slice(builder, zero, count, one) as (i, _):
        target = _row(context, builder, kinds[0], out, builder.add(p, i))
        total = builder.load(target, align=8)
        for own, start in zip(ratios, starts, strict=True):
            row = builder.load(_row(context, builder, kinds[3], rows, builder.add(start, i)), align=8)
            total = _added(builder, total, own, row)
        builder.store(total, target, align=8)
    return context.get_dummy_value()


@intrinsic
def add_outer(typingctx: Any, out: Any, p: Any, ratio: Any, rows: Any, first: Any, stride: Any, count: Any) -> Any:
    """``out[p + i] += sum_k ratio[k] * rows[first + k stride + i]`` for i below count, over `TOGETHER` k one after the other."""
    index = types.intp
    return types.void(out, index, ratio, rows, index, index, index), _outer


def _moments(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kinds = signature.args
    mean, scatter = _sums(context, builder, kinds, args, [1, 2])
    gain = builder.load(_row(context, builder, kinds[3], args[3], args[4]), align=8)
    weight = builder.load(_row(context, builder, kinds[5], args[5], ir.Constant(args[4].type, 0)), align=8)
    places = [_row(context, builder, kinds[0], args[0], ir.Constant(args[4].type, k)) for k in (0, 1)]
    away = builder.fsub(builder.fmul(gain, builder.fsub(_splat(builder, args[6]), mean)), _splat(builder, args[7]))
    scatter = builder.fmul(gain, scatter)
    heavy = builder.fmul(weight, away)
    square = _added(builder, builder.fmul(heavy, away), builder.fmul(weight, scatter), scatter)
    for place, value in zip(places, (heavy, square), strict=True):
        builder.store(builder.fadd(builder.load(place, align=8), value), place, align=8)
    return context.get_dummy_value()


@intrinsic
def add_moments(
    typingctx: Any,
    sums: Any,
    means: Any,
    noises: Any,
    gain: Any,
    k: Any,
    weight: Any,
    side: Any,
    centre: Any,
    index: Any,
    data: Any,
    first: Any,
    last: Any,
) -> Any:
    """Add to ``sums[0]`` weight * e, and to ``sums[1]`` weight * (e^2 + s^2).

    ``e = gain[k] * (side - row @ means) - centre`` and ``s = gain[k] * row @ noises``, for a row of a sparse matrix as in `set_dot`.
    """
    number = types.float64
    given = sums, means, noises, gain, types.intp, weight, number, number, index, data, types.intp, types.intp
    return types.void(*given), _moments


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


_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
_FARTHEST = 600.0  # beyond, products with what is left would be slow: denormal
_FACTORIALS = [1 / math.factorial(k) for k in range(12)]


def _decay(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    bits = ir.IntType(64)
    x = builder.select(builder.fcmp_ordered("<", args[0], _NUMBER(_FARTHEST)), args[0], _NUMBER(_FARTHEST))
    power = builder.call(builder.module.declare_intrinsic("llvm.rint", [_NUMBER]), [builder.fmul(x, _NUMBER(-_LOG2_E))])
    rest = builder.fsub(_NUMBER(-0.0), x)
    for part in (_LN2_HIGH, _LN2_LOW):
        rest = builder.fsub(rest, builder.fmul(power, _NUMBER(part), flags=_FUSED), flags=_FUSED)
    value = _NUMBER(_FACTORIALS[-1])
    for factor in reversed(_FACTORIALS[:-1]):
        value = builder.fadd(builder.fmul(value, rest, flags=_FUSED), _NUMBER(factor), flags=_FUSED)
    whole = builder.sext(builder.fptosi(power, ir.IntType(32)), bits)  # by way of 32 bits, for which there is a vector instruction
    return builder.bitcast(builder.add(builder.bitcast(value, bits), builder.shl(whole, bits(52))), _NUMBER)


@intrinsic
def decay(typingctx: Any, x: Any) -> Any:
    """exp(-x) for x >= 0, to rounding, without branches or calls: loops over it become vector instructions. 1e-261 from 600 on."""
    return types.float64(types.float64), _decay
