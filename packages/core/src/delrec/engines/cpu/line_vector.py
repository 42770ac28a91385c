"""The inner loops of synaptic delays as LLVM vectors, as `vector` has those of the rest: a line is LANES values."""

from __future__ import annotations

from typing import Any

from numba.core import types

from delrec.engines.cpu.vector import LANES, Emit, Loop, intrinsic

__all__ = [
    "add_column",
    "add_sides",
    "copy_line",
    "fill_line",
    "go_on",
    "read_pairs",
    "read_pairs_keep",
    "read_triples",
    "read_triples_keep",
]


@intrinsic
def fill_line(typingctx, out, out_at):
    """out[lane] = 0."""
    signature = types.void(out, types.intp)

    def codegen(context, builder, sig, args):
        e = Emit(context, builder, out, LANES)
        e.store(e.zero(), e.pointer(out, *args))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_line(typingctx, line, at, out, out_at):
    """out[lane] = line[lane]."""
    signature = types.void(line, types.intp, out, types.intp)

    def codegen(context, builder, sig, args):
        e = Emit(context, builder, line, LANES)
        e.store(e.load(e.pointer(line, *args[:2])), e.pointer(out, *args[2:]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def go_on(typingctx, value, slope, at, steps, out, out_at):
    """out[lane] = value[lane] + steps * slope[lane]; both begin at `at`."""
    signature = types.void(value, slope, types.intp, types.intp, out, types.intp)

    def codegen(context, builder, sig, args):
        vv, sv, at, n, ov, oo = args
        e = Emit(context, builder, out, LANES)
        count = e.splat(builder.sitofp(n, e.element))
        rise = builder.fmul(count, e.load(e.pointer(slope, sv, at)))
        e.store(builder.fadd(e.load(e.pointer(value, vv, at)), rise), e.pointer(out, ov, oo))
        return context.get_dummy_value()

    return signature, codegen


def _make_reader(per: int, keep: bool) -> Any:
    @intrinsic
    def read(typingctx, ring, ring_at, place, place_at, factor, factor_at, weight, weight_at, count, out, out_at, kept):
        """out[lane] += sum_n weight[n] q[n], q[n] = sum_p factor[n,p,0] line + factor[n,p,1] next.

        The line begins place[n, p] elements after ring_at. If `keep`, kept[n, lane] = q[n, lane] too.
        """
        intp = types.intp
        signature = types.void(ring, intp, place, intp, factor, intp, weight, intp, intp, out, intp, kept)

        def codegen(context, builder, sig, args):
            rv, ro, pv, po, fv, fo, wv, wo, n, ov, oo, kv = args
            e = Emit(context, builder, ring, LANES)
            pr, pp = e.pointer(ring, rv, ro), e.pointer(place, pv, po)
            pf, pw = e.pointer(factor, fv, fo), e.pointer(weight, wv, wo)
            po_out, pk = e.pointer(out, ov, oo), e.pointer(kept, kv, e.number(0))
            loop = Loop(builder, e.index, n, [e.load(po_out)])
            total = None
            for p in range(per):
                at = builder.add(builder.mul(loop.counter, e.number(per)), e.number(p))
                near = builder.gep(pr, [builder.sext(builder.load(builder.gep(pp, [at])), e.index)])
                for j in range(2):
                    which = builder.add(builder.mul(at, e.number(2)), e.number(j))
                    tap = e.splat(builder.load(builder.gep(pf, [which])))
                    value = e.load(builder.gep(near, [e.number(j * LANES)]))
                    total = builder.fmul(tap, value) if total is None else e.multiply_add(tap, value, total)
            if keep:
                e.store(total, builder.gep(pk, [builder.mul(loop.counter, e.number(LANES))]))
            share = e.splat(builder.load(builder.gep(pw, [loop.counter])))
            loop.close([e.multiply_add(share, total, loop.values[0])])
            e.store(loop.values[0], po_out)
            return context.get_dummy_value()

        return signature, codegen

    return read


read_pairs = _make_reader(1, False)
read_triples = _make_reader(3, False)
read_pairs_keep = _make_reader(1, True)
read_triples_keep = _make_reader(3, True)


@intrinsic
def add_column(typingctx, lines, lane, count, out, out_at):
    """out[j] += lines[j, lane] for j < count."""
    intp = types.intp
    signature = types.void(lines, intp, intp, out, intp)

    def codegen(context, builder, sig, args):
        lv, lane, n, ov, oo = args
        e = Emit(context, builder, out, LANES)
        pl, po = e.pointer(lines, lv, lane), e.pointer(out, ov, oo)
        loop = Loop(builder, e.index, n, [])
        value = builder.load(builder.gep(pl, [builder.mul(loop.counter, e.number(LANES))]))
        to = builder.gep(po, [loop.counter])
        builder.store(builder.fadd(builder.load(to), value), to)
        loop.close([])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_sides(typingctx, lines, lines_at, span, span_at, count, sides, total, at):
    """sides[j] += (after - high) - (low - middle) and total[j] += low - high, for j < count.

    low, middle, after, high lie span[j, 0 .. 3] elements after lines_at.
    """
    intp = types.intp
    signature = types.void(lines, intp, span, intp, intp, sides, total, intp)

    def codegen(context, builder, sig, args):
        lv, lo, sv, so, n, dv, tv, oo = args
        e = Emit(context, builder, lines, LANES)
        pl, ps = e.pointer(lines, lv, lo), e.pointer(span, sv, so)
        pd, pt = e.pointer(sides, dv, oo), e.pointer(total, tv, oo)
        loop = Loop(builder, e.index, n, [])
        ends = []
        for j in range(4):
            which = builder.add(builder.mul(loop.counter, e.number(4)), e.number(j))
            off = builder.sext(builder.load(builder.gep(ps, [which])), e.index)
            ends.append(builder.load(builder.gep(pl, [off])))
        low, middle, after, high = ends
        to = builder.gep(pd, [loop.counter])
        side = builder.fsub(builder.fsub(after, high), builder.fsub(low, middle))
        builder.store(builder.fadd(builder.load(to), side), to)
        to = builder.gep(pt, [loop.counter])
        builder.store(builder.fadd(builder.load(to), builder.fsub(low, high)), to)
        loop.close([])
        return context.get_dummy_value()

    return signature, codegen
