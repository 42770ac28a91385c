"""The few inner loops that a compiler does not find by itself, written as LLVM vectors for numba.

Everything here works on 64-byte vectors (16 float32 or 8 float64) or on the LANES = 16 rows of a batch tile, and
is generic LLVM: it compiles for any CPU that LLVM knows. `multiply_rows` is the register block of a matrix product,
`gather_rows` its sparse counterpart, `spread_bits` and `weigh_lines` apply the taps of a delay kernel.

Offsets and strides are in elements. Nothing checks bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic as _intrinsic

__all__ = [
    "COLUMNS",
    "LANES",
    "ROWS",
    "count_bits",
    "gather_rows",
    "gather_rows_wide",
    "get",
    "masked_sum",
    "multiply_rows",
    "next_bit",
    "nonzero_bits",
    "prefetch",
    "put",
    "spread_bits",
    "transpose_block",
    "weigh_lines",
]

intrinsic: Any = _intrinsic

LANES = 16
_VECTOR_BYTES = 64
_LINE_BYTES = 64  # of the cache
ROWS = 6  # of a block of a product: a vector each, which with what they are made of fill 16 registers of 32 bytes
COLUMNS = 32  # what row lengths are padded to: two vectors of float32, four of float64

_I32, _I16 = ir.IntType(32), ir.IntType(16)


class Emit:
    """Shorthand for one code generation: element type, vector types, loads and stores."""

    def __init__(self, context: Any, builder: Any, array: Any, width: int) -> None:
        self.context, self.builder = context, builder
        self.bits = array.dtype.bitwidth
        self.element = context.get_data_type(array.dtype)
        self.width = width
        self.vector = ir.VectorType(self.element, width)
        self.index = context.get_value_type(types.intp)

    def number(self, value: int) -> Any:
        return ir.Constant(self.index, value)

    def zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.width)

    def pointer(self, array: Any, value: Any, offset: Any) -> Any:
        return self.builder.gep(self.context.make_array(array)(self.context, self.builder, value).data, [offset])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = self.bits // 8
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer())).align = self.bits // 8

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(_I32, self.width), [0] * self.width)
        )

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.width}f{self.bits}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])

    def sum_lanes(self, vector: Any) -> Any:
        """Sum of the lanes as a fixed tree, the same on every machine."""
        width = self.width
        while width > 1:
            width //= 2
            kind = ir.VectorType(_I32, width)
            low = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width))))
            high = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width, 2 * width))))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(_I32, 0))

    def select_bits(self, bits: Any, vector: Any, other: Any = None) -> Any:
        chosen = self.builder.bitcast(
            self.builder.trunc(bits, ir.IntType(self.width)), ir.VectorType(ir.IntType(1), self.width)
        )
        return self.builder.select(chosen, vector, self.zero() if other is None else other)


class Loop:
    """A counted loop with values carried from turn to turn; `before` holds the start of each value."""

    def __init__(self, builder: Any, index: Any, count: Any, before: list[Any]) -> None:
        self.builder, self.count = builder, count
        entry = builder.block
        self.head = builder.append_basic_block("head")
        self.body = builder.append_basic_block("body")
        self.end = builder.append_basic_block("end")
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.counter = builder.phi(index)
        self.counter.add_incoming(ir.Constant(index, 0), entry)
        self.values = []
        for start in before:
            value = builder.phi(start.type)
            value.add_incoming(start, entry)
            self.values.append(value)
        builder.cbranch(builder.icmp_signed("<", self.counter, count), self.body, self.end)
        builder.position_at_end(self.body)

    def close(self, after: list[Any], step: int = 1) -> None:
        block = self.builder.block
        self.counter.add_incoming(self.builder.add(self.counter, ir.Constant(self.counter.type, step)), block)
        for value, new in zip(self.values, after, strict=True):
            value.add_incoming(new, block)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.end)


@intrinsic
def multiply_rows(typingctx, a, a_at, a_r, a_k, b, b_at, b_k, start, start_at, start_r, c, c_at, c_r, rows, count):
    """C[r, :] = start[r, :] + sum_{k < count} A[r, k] B[k, :], for `rows` <= ROWS rows of one vector, in registers.

    Every element is one chain of fused multiply-adds, k ascending. C may be `start`.
    """
    intp = types.intp
    signature = types.void(
        a, intp, intp, intp, b, intp, intp, start, intp, intp, c, intp, intp, intp, intp
    )  # fmt: skip

    def codegen(context, builder, sig, args):
        av, ao, ar, ak, bv, bo, bk, sv, so, sr, cv, co, cr, n, k = args
        e = Emit(context, builder, a, _VECTOR_BYTES * 8 // a.dtype.bitwidth)
        pa, pb, ps, pc = e.pointer(a, av, ao), e.pointer(b, bv, bo), e.pointer(start, sv, so), e.pointer(c, cv, co)
        last = builder.sub(n, e.number(1))
        # rows that are not there repeat the last one: the same numbers to the same place, without a branch
        row = [builder.select(builder.icmp_signed("<", e.number(r), last), e.number(r), last) for r in range(ROWS)]
        from_a = [builder.mul(ar, r) for r in row]
        loop = Loop(builder, e.index, k, [e.load(builder.gep(ps, [builder.mul(sr, r)])) for r in row])
        at_a = builder.gep(pa, [builder.mul(loop.counter, ak)])
        line = e.load(builder.gep(pb, [builder.mul(loop.counter, bk)]))
        factors = [e.splat(builder.load(builder.gep(at_a, [offset]))) for offset in from_a]
        loop.close([e.multiply_add(f, line, value) for f, value in zip(factors, loop.values, strict=True)])
        for r, value in zip(row, loop.values, strict=True):
            e.store(value, builder.gep(pc, [builder.mul(cr, r)]))
        return context.get_dummy_value()

    return signature, codegen


def _make_gather(vectors: int) -> Any:
    @intrinsic
    def gather(typingctx, c, c_at, index, value, at, count, b, b_at, b_k):
        """C[:] += sum_{j < count} value[at+j] B[index[at+j], :], `vectors` vectors of C in registers."""
        intp = types.intp
        signature = types.void(c, intp, index, value, intp, intp, b, intp, intp)

        def codegen(context, builder, sig, args):
            cv, co, iv, vv, start, n, bv, bo, bk = args
            e = Emit(context, builder, b, _VECTOR_BYTES * 8 // b.dtype.bitwidth)
            pc, pb = e.pointer(c, cv, co), e.pointer(b, bv, bo)
            pi, pv = e.pointer(index, iv, start), e.pointer(value, vv, start)
            out = [builder.gep(pc, [e.number(v * e.width)]) for v in range(vectors)]
            loop = Loop(builder, e.index, n, [e.load(p) for p in out])
            which = builder.zext(builder.load(builder.gep(pi, [loop.counter])), e.index)
            factor = e.splat(builder.load(builder.gep(pv, [loop.counter])))
            row = builder.gep(pb, [builder.mul(which, bk)])
            loop.close(
                [
                    e.multiply_add(factor, e.load(builder.gep(row, [e.number(v * e.width)])), loop.values[v])
                    for v in range(vectors)
                ]
            )
            for p, value_out in zip(out, loop.values, strict=True):
                e.store(value_out, p)
            return context.get_dummy_value()

        return signature, codegen

    return gather


gather_rows = _make_gather(2)
gather_rows_wide = _make_gather(8)


@intrinsic
def spread_bits(typingctx, bits, bits_at, taps, taps_at, count, out, out_at):
    """out[lane] = sum_{j < count} taps[j] * bit `lane` of bits[-j]; count a multiple of 4.

    Returns the OR of the bits.
    """
    intp = types.intp
    signature = types.uint16(bits, intp, taps, intp, intp, out, intp)

    def codegen(context, builder, sig, args):
        bv, bo, tv, to, n, ov, oo = args
        e = Emit(context, builder, taps, LANES)
        pb, pt = e.pointer(bits, bv, bo), e.pointer(taps, tv, to)
        loop = Loop(builder, e.index, n, [e.zero()] * 4 + [ir.Constant(_I16, 0)])
        new, any_bit = [], loop.values[4]
        for j in range(4):
            at = builder.add(loop.counter, e.number(j))
            word = builder.load(builder.gep(pb, [builder.neg(at)]))
            tap = e.splat(builder.load(builder.gep(pt, [at])))
            before = loop.values[j]
            new.append(e.select_bits(word, builder.fadd(before, tap), before))
            any_bit = builder.or_(any_bit, word)
        loop.close([*new, any_bit], 4)
        a, b, c, d, seen = loop.values
        e.store(builder.fadd(builder.fadd(a, b), builder.fadd(c, d)), e.pointer(out, ov, oo))
        return seen

    return signature, codegen


@intrinsic
def weigh_lines(typingctx, lines, lines_at, taps, taps_at, count, out, out_at):
    """out[lane] = sum_{j < count} taps[j] lines[j, lane]; lines are contiguous, count a multiple of 4."""
    intp = types.intp
    signature = types.void(lines, intp, taps, intp, intp, out, intp)

    def codegen(context, builder, sig, args):
        lv, lo, tv, to, n, ov, oo = args
        e = Emit(context, builder, taps, LANES)
        pl, pt = e.pointer(lines, lv, lo), e.pointer(taps, tv, to)
        loop = Loop(builder, e.index, n, [e.zero()] * 4)
        new = []
        for j in range(4):
            at = builder.add(loop.counter, e.number(j))
            line = e.load(builder.gep(pl, [builder.mul(at, e.number(LANES))]))
            tap = e.splat(builder.load(builder.gep(pt, [at])))
            new.append(e.multiply_add(tap, line, loop.values[j]))
        loop.close(new, 4)
        a, b, c, d = loop.values
        e.store(builder.fadd(builder.fadd(a, b), builder.fadd(c, d)), e.pointer(out, ov, oo))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def masked_sum(typingctx, lines, lines_at, count, bits):
    """Return the sum over j < count and over the lanes whose bit is set of lines[j, lane]."""
    signature = lines.dtype(lines, types.intp, types.intp, types.uint16)

    def codegen(context, builder, sig, args):
        lv, lo, n, word = args
        e = Emit(context, builder, lines, LANES)
        pl = e.pointer(lines, lv, lo)
        loop = Loop(builder, e.index, n, [e.zero()])
        line = e.load(builder.gep(pl, [builder.mul(loop.counter, e.number(LANES))]))
        loop.close([builder.fadd(loop.values[0], line)])
        return e.sum_lanes(e.select_bits(word, loop.values[0]))

    return signature, codegen


@intrinsic
def transpose_block(typingctx, a, a_at, a_r, b, b_at, b_r):
    """b[j, i] = a[i, j] for a block of LANES x LANES; a_r and b_r are the row strides."""
    intp = types.intp
    signature = types.void(a, intp, intp, b, intp, intp)

    def codegen(context, builder, sig, args):
        av, ao, ar, bv, bo, br = args
        e = Emit(context, builder, a, LANES)
        pa, pb = e.pointer(a, av, ao), e.pointer(b, bv, bo)
        rows = [e.load(builder.gep(pa, [builder.mul(ar, e.number(i))])) for i in range(LANES)]
        kind = ir.VectorType(_I32, LANES)
        for d in (8, 4, 2, 1):
            first = ir.Constant(kind, [lane if not lane & d else LANES + lane - d for lane in range(LANES)])
            second = ir.Constant(kind, [lane + d if not lane & d else LANES + lane for lane in range(LANES)])
            for i in range(LANES):
                if not i & d:
                    low, high = rows[i], rows[i + d]
                    rows[i] = builder.shuffle_vector(low, high, first)
                    rows[i + d] = builder.shuffle_vector(low, high, second)
        for j in range(LANES):
            e.store(rows[j], builder.gep(pb, [builder.mul(br, e.number(j))]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def nonzero_bits(typingctx, a, a_at):
    """Return a word whose bit j says that a[a_at + j] is not zero, for LANES elements (NaN is not zero)."""
    signature = types.uint16(a, types.intp)

    def codegen(context, builder, sig, args):
        av, ao = args
        e = Emit(context, builder, a, LANES)
        return builder.bitcast(builder.fcmp_unordered("!=", e.load(e.pointer(a, av, ao)), e.zero()), _I16)

    return signature, codegen


@intrinsic
def next_bit(typingctx, word):
    """Return the index of the lowest bit set; the word must not be 0."""
    signature = types.intp(types.uint16)

    def codegen(context, builder, sig, args):
        wide = builder.zext(args[0], ir.IntType(64))
        return builder.cttz(wide, ir.Constant(ir.IntType(1), 1))

    return signature, codegen


@intrinsic
def count_bits(typingctx, word):
    """Return how many bits are set."""
    signature = types.intp(types.uint16)

    def codegen(context, builder, sig, args):
        return builder.ctpop(builder.zext(args[0], ir.IntType(64)))

    return signature, codegen


@intrinsic
def get(typingctx, a, at):
    """Return a[at] for at >= 0: numba's test for negative indices would keep a loop from becoming vectors."""
    signature = a.dtype(a, types.intp)

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(context.make_array(a)(context, builder, args[0]).data, [args[1]]))

    return signature, codegen


@intrinsic
def put(typingctx, a, at, value):
    """a[at] = value for at >= 0; the value has the array's type."""
    signature = types.void(a, types.intp, a.dtype)

    def codegen(context, builder, sig, args):
        builder.store(args[2], builder.gep(context.make_array(a)(context, builder, args[0]).data, [args[1]]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch(typingctx, a, at, count):
    """Ask for the cache lines of a[at : at + count], which may lie outside the array: a hint, never a fault."""
    signature = types.void(a, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        av, ao, n = args
        e = Emit(context, builder, a, LANES)
        pointer = e.pointer(a, av, ao)
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        per = _LINE_BYTES * 8 // a.dtype.bitwidth
        loop = Loop(builder, e.index, n, [])
        to = builder.bitcast(builder.gep(pointer, [loop.counter]), byte)
        builder.call(function, [to, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
        loop.close([], per)
        return context.get_dummy_value()

    return signature, codegen
