"""The inner loops that a compiler does not vectorise by itself, as LLVM vectors for numba.

They work on 64-byte vectors (16 float32 or 8 float64) or on the LANES = 16 rows of a batch tile, in generic LLVM for
any CPU. `multiply_rows` is the register block of a matrix product, `gather_rows` its sparse counterpart; `spread_bits`
and `weigh_lines` apply the taps of a delay kernel. Offsets and strides are in elements. Nothing checks bounds.
"""

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic

LANES = 16
_BYTES = 64  # of a vector, and of a cache line
ROWS = 6  # of a block of a product: with their operands they fill 16 registers of 32 bytes
COLUMNS = 32  # row lengths are padded to multiples: two vectors of float32, four of float64

_I32, _I16 = ir.IntType(32), ir.IntType(16)


def emitted(arguments: str, returns: Any = types.void, width: int | None = LANES) -> Callable[[Any], Any]:
    """Turn emit(e, builder, ...), which emits code, into a function that kernels call with `arguments`.

    In `emit` an array and the offset after it become one pointer; adjacent arrays share an offset, 0 without one. `e`
    has the type of the first array of real numbers, or the first array. returns: a type, or "real" for that of `e`.
    width: elements of a vector; None for 64 bytes.
    """

    def make(emit: Callable[..., Any]) -> Any:
        def typed(typingctx: Any, *given: Any) -> Any:
            arrays = [k for k in given if isinstance(k, types.Array)]
            real = next((k for k in arrays if isinstance(k.dtype, types.Float)), arrays[0])
            kinds = [k if isinstance(k, types.Array) or k == types.uint16 else types.intp for k in given]

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                e = _Emit(context, builder, real, _BYTES * 8 // real.dtype.bitwidth if width is None else width)
                values: list[Any] = []
                waiting: list[int] = []  # places of arrays before their offset
                for kind, value in (*zip(kinds, args, strict=True), (types.intp, e.number(0))):
                    if isinstance(kind, types.Array):
                        waiting.append(len(values))
                        values.append((kind, value))
                    elif waiting:
                        for place in waiting:
                            array, held = values[place]
                            values[place] = e.pointer(array, held, value)
                        waiting.clear()
                    else:
                        values.append(value)
                found = emit(e, builder, *values[:count])
                return context.get_dummy_value() if found is None else found

            return (real.dtype if returns == "real" else returns)(*kinds), codegen

        count = len(inspect.signature(emit).parameters) - 2
        typed.__name__, typed.__doc__ = emit.__name__, emit.__doc__
        names = ["typingctx", *arguments.split()]
        typed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        return intrinsic(typed)

    return make


class _Emit:
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

    def real(self, value: Any, kind: Any = None) -> Any:
        """Return a number as one of the type of `e`, or of another kind."""
        kind = self.element if kind is None else kind
        if value.type == kind:
            return value
        return self.builder.fpext(value, kind) if kind == ir.DoubleType() else self.builder.fptrunc(value, kind)

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
        zeros = ir.Constant(ir.VectorType(_I32, self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.width}f{self.bits}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])

    def sum_lanes(self, vector: Any) -> Any:
        """Return the sum of the lanes as a fixed tree, the same on every machine."""
        width = self.width
        while width > 1:
            width //= 2
            kind = ir.VectorType(_I32, width)
            low = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width))))
            high = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(width, 2 * width))))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(_I32, 0))

    def select_bits(self, bits: Any, vector: Any, other: Any = None) -> Any:
        bits = self.builder.trunc(bits, ir.IntType(self.width))
        chosen = self.builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.width))
        return self.builder.select(chosen, vector, self.zero() if other is None else other)


class Loop:
    """A counted loop with values carried from turn to turn, starting from `before`."""

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
        """End the body; after: the values of the next turn."""
        block = self.builder.block
        self.counter.add_incoming(self.builder.add(self.counter, ir.Constant(self.counter.type, step)), block)
        for value, new in zip(self.values, after, strict=True):
            value.add_incoming(new, block)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.end)


@emitted("a a_at a_r a_k b b_at b_k start start_at start_r c c_at c_r rows count", width=None)
def multiply_rows(e, builder, a, a_r, a_k, b, b_k, start, start_r, c, c_r, rows, count):
    """C[r, :] = start[r, :] + sum_{k < count} A[r, k] B[k, :], for `rows` <= ROWS rows of one vector, in registers.

    Every element is one chain of fused multiply-adds, k ascending. C may be `start`.
    """
    last = builder.sub(rows, e.number(1))
    # missing rows repeat the last one: they write the same numbers to the same place, without a branch
    row = [builder.select(builder.icmp_signed("<", e.number(r), last), e.number(r), last) for r in range(ROWS)]
    from_a = [builder.mul(a_r, r) for r in row]
    loop = Loop(builder, e.index, count, [e.load(builder.gep(start, [builder.mul(start_r, r)])) for r in row])
    at_a = builder.gep(a, [builder.mul(loop.counter, a_k)])
    line = e.load(builder.gep(b, [builder.mul(loop.counter, b_k)]))
    factors = [e.splat(builder.load(builder.gep(at_a, [offset]))) for offset in from_a]
    loop.close([e.multiply_add(f, line, value) for f, value in zip(factors, loop.values, strict=True)])
    for r, value in zip(row, loop.values, strict=True):
        e.store(value, builder.gep(c, [builder.mul(c_r, r)]))


def _make_gather(vectors: int) -> Any:
    @emitted("c c_at index value at count b b_at b_k", width=None)
    def gather(e, builder, c, index, value, count, b, b_k):
        """C[:] += sum_{j < count} value[j] B[index[j], :], `vectors` vectors of C in registers."""
        out = [builder.gep(c, [e.number(v * e.width)]) for v in range(vectors)]
        loop = Loop(builder, e.index, count, [e.load(p) for p in out])
        which = builder.zext(builder.load(builder.gep(index, [loop.counter])), e.index)
        factor = e.splat(builder.load(builder.gep(value, [loop.counter])))
        row = builder.gep(b, [builder.mul(which, b_k)])
        lines = [e.load(builder.gep(row, [e.number(v * e.width)])) for v in range(vectors)]
        loop.close([e.multiply_add(factor, line, value) for line, value in zip(lines, loop.values, strict=True)])
        for p, found in zip(out, loop.values, strict=True):
            e.store(found, p)

    return gather


gather_rows = _make_gather(2)
gather_rows_wide = _make_gather(8)


@emitted("bits bits_at taps taps_at count out out_at", returns=types.uint16)
def spread_bits(e, builder, bits, taps, count, out):
    """out[lane] = sum_{j < count} taps[j] * bit `lane` of bits[-j]; count a multiple of 4.

    Returns the OR of the bits.
    """
    loop = Loop(builder, e.index, count, [e.zero()] * 4 + [ir.Constant(_I16, 0)])
    new, any_bit = [], loop.values[4]
    for j in range(4):
        at = builder.add(loop.counter, e.number(j))
        word = builder.load(builder.gep(bits, [builder.neg(at)]))
        tap = e.splat(builder.load(builder.gep(taps, [at])))
        before = loop.values[j]
        new.append(e.select_bits(word, builder.fadd(before, tap), before))
        any_bit = builder.or_(any_bit, word)
    loop.close([*new, any_bit], 4)
    first, second, third, fourth, seen = loop.values
    e.store(builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth)), out)
    return seen


@emitted("lines lines_at taps taps_at count out out_at")
def weigh_lines(e, builder, lines, taps, count, out):
    """out[lane] = sum_{j < count} taps[j] lines[j, lane]; lines are contiguous, count a multiple of 4."""
    loop = Loop(builder, e.index, count, [e.zero()] * 4)
    new = []
    for j in range(4):
        at = builder.add(loop.counter, e.number(j))
        line = e.load(builder.gep(lines, [builder.mul(at, e.number(LANES))]))
        tap = e.splat(builder.load(builder.gep(taps, [at])))
        new.append(e.multiply_add(tap, line, loop.values[j]))
    loop.close(new, 4)
    first, second, third, fourth = loop.values
    e.store(builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth)), out)


@emitted("lines lines_at count bits", returns="real")
def masked_sum(e, builder, lines, count, bits):
    """Return the sum over j < count and over the lanes whose bit is set of lines[j, lane]."""
    loop = Loop(builder, e.index, count, [e.zero()])
    line = e.load(builder.gep(lines, [builder.mul(loop.counter, e.number(LANES))]))
    loop.close([builder.fadd(loop.values[0], line)])
    return e.sum_lanes(e.select_bits(bits, loop.values[0]))


@emitted("a a_at a_r b b_at b_r")
def transpose_block(e, builder, a, a_r, b, b_r):
    """b[j, i] = a[i, j] for a block of LANES x LANES; a_r and b_r are the row strides."""
    rows = [e.load(builder.gep(a, [builder.mul(a_r, e.number(i))])) for i in range(LANES)]
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
        e.store(rows[j], builder.gep(b, [builder.mul(b_r, e.number(j))]))


@emitted("a a_at", returns=types.uint16)
def nonzero_bits(e, builder, a):
    """Return a word whose bit j says that a[j] is not zero, for LANES elements; NaN is not zero."""
    return builder.bitcast(builder.fcmp_unordered("!=", e.load(a), e.zero()), _I16)


def _of_word(emit: Callable[..., Any]) -> Any:
    def typed(typingctx: Any, word: Any) -> Any:
        return types.intp(types.uint16), lambda context, builder, signature, args: emit(
            builder, builder.zext(args[0], ir.IntType(64))
        )

    return intrinsic(typed)


next_bit = _of_word(lambda builder, word: builder.cttz(word, ir.Constant(ir.IntType(1), 1)))  # lowest bit, not of 0
count_bits = _of_word(lambda builder, word: builder.ctpop(word))


@emitted("a at", returns="real")
def get(e, builder, a):
    """Return a[at] for at >= 0: numba's test for negative indices would prevent vectors."""
    return builder.load(a)


@intrinsic
def put(typingctx, a, at, value):
    """a[at] = value for at >= 0; the value has the array's type."""
    signature = types.void(a, types.intp, a.dtype)

    def codegen(context, builder, sig, args):
        builder.store(args[2], builder.gep(context.make_array(a)(context, builder, args[0]).data, [args[1]]))
        return context.get_dummy_value()

    return signature, codegen


@emitted("a a_at count")
def prefetch(e, builder, a, count):
    """Prefetch the cache lines of a[: count], which may lie outside the array."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    loop = Loop(builder, e.index, count, [])
    to = builder.bitcast(builder.gep(a, [loop.counter]), byte)
    builder.call(function, [to, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
    loop.close([], _BYTES * 8 // e.bits)


@emitted("address work work_at numbers numbers_at")
def call_block(e, builder, address, work, numbers):
    """Call a function of a neuron, see `codegen.places_of`."""
    kind = ir.FunctionType(ir.VoidType(), [work.type, numbers.type])
    builder.call(builder.inttoptr(address, kind.as_pointer()), [work, numbers])
