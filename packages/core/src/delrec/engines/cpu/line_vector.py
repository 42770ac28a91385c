"""The inner loops of synaptic delays as LLVM vectors, as `vector` has those of the rest: a line is LANES values."""

from typing import Any

from delrec.engines.cpu.vector import LANES, Loop, emitted


def _make_reader(per: int, keep: bool) -> Any:
    @emitted("ring ring_at place place_at factor factor_at weight weight_at count out out_at kept")
    def read(e, builder, ring, place, factor, weight, count, out, kept):
        """out[lane] += sum_n weight[n] q[n], q[n] = sum_p factor[n,p,0] line + factor[n,p,1] next.

        The line begins place[n, p] elements after `ring`. If `keep`, kept[n, lane] = q[n, lane] too.
        """
        loop = Loop(builder, e.index, count, [e.load(out)])
        total = None
        for p in range(per):
            at = builder.add(builder.mul(loop.counter, e.number(per)), e.number(p))
            near = builder.gep(ring, [builder.sext(builder.load(builder.gep(place, [at])), e.index)])
            for j in range(2):
                which = builder.add(builder.mul(at, e.number(2)), e.number(j))
                tap = e.splat(builder.load(builder.gep(factor, [which])))
                value = e.load(builder.gep(near, [e.number(j * LANES)]))
                total = builder.fmul(tap, value) if total is None else e.multiply_add(tap, value, total)
        if keep:
            e.store(total, builder.gep(kept, [builder.mul(loop.counter, e.number(LANES))]))
        share = e.splat(builder.load(builder.gep(weight, [loop.counter])))
        loop.close([e.multiply_add(share, total, loop.values[0])])
        e.store(loop.values[0], out)

    return read


read_pairs = _make_reader(1, False)
read_triples = _make_reader(3, False)
read_pairs_keep = _make_reader(1, True)
read_triples_keep = _make_reader(3, True)


@emitted("lines lane count out out_at")
def add_column(e, builder, lines, count, out):
    """out[j] += lines[j, 0] for j < count; lines begin at the lane that is added."""
    loop = Loop(builder, e.index, count, [])
    value = builder.load(builder.gep(lines, [builder.mul(loop.counter, e.number(LANES))]))
    to = builder.gep(out, [loop.counter])
    builder.store(builder.fadd(builder.load(to), value), to)
    loop.close([])


@emitted("lines lines_at span span_at count sides total at")
def add_sides(e, builder, lines, span, count, sides, total):
    """sides[j] += (after - high) - (low - middle) and total[j] += low - high, for j < count.

    low, middle, after, high are lines[span[j, 0 .. 3]].
    """
    loop = Loop(builder, e.index, count, [])
    ends = []
    for j in range(4):
        which = builder.add(builder.mul(loop.counter, e.number(4)), e.number(j))
        off = builder.sext(builder.load(builder.gep(span, [which])), e.index)
        ends.append(builder.load(builder.gep(lines, [off])))
    low, middle, after, high = ends
    to = builder.gep(sides, [loop.counter])
    side = builder.fsub(builder.fsub(after, high), builder.fsub(low, middle))
    builder.store(builder.fadd(builder.load(to), side), to)
    to = builder.gep(total, [loop.counter])
    builder.store(builder.fadd(builder.load(to), builder.fsub(low, high)), to)
    loop.close([])
