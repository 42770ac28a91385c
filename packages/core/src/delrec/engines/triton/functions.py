"""What kernels share: arithmetic of rules, rounded as IEEE asks where Triton would not, and a sum over rows."""

import triton
import triton.language as tl


@triton.jit
def div(x, y):
    """x / y, rounded to nearest."""
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def sqrt(x):
    """The square root, rounded to nearest."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN gives 0."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def tanh(x):
    """sign(x) (1 - e) / (1 + e), e = exp(-2 |x|)."""
    e = tl.exp(-2 * tl.abs(x))
    return tl.where(x < 0, -1, 1) * div(1 - e, 1 + e)


@triton.jit
def power(x, exponent: tl.constexpr):
    """x to a constant: its whole part by products, a half by the root, any other rest as exp(rest log x).

    So a negative number has its whole powers, and NaN for every other one.
    """
    size: tl.constexpr = exponent if exponent >= 0 else -exponent
    whole: tl.constexpr = int(size)
    rest: tl.constexpr = size - whole
    result = tl.full(x.shape, 1.0, x.dtype)
    square = x
    for bit in tl.static_range(24):  # squares that nothing multiplies are left out by the compiler
        if (whole >> bit) % 2 == 1:
            result = result * square
        square = square * square
    if rest == 0.5:
        result = result * sqrt(x)
    elif rest > 0:
        result = result * tl.exp(rest * tl.log(x))
    if exponent < 0:
        result = div(tl.full(x.shape, 1.0, x.dtype), result)
    return result


@triton.jit
def log1p(x):
    """log(1 + x), as exact for a small x: what 1 + x lost in rounding is made up for."""
    y = 1 + x
    return tl.where(y == 1, x, tl.log(y) * div(x, tl.where(y == 1, 1, y - 1)))


@triton.jit
def add_rows(to, values, inside):
    """Add the sum of (ROWS, COLS) values over rows to (COLS,) numbers in float64."""
    tl.store(to, tl.load(to, mask=inside, other=0) + tl.sum(values.to(tl.float64), 0), mask=inside)
