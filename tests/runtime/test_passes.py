"""Kernels go through Numba's passes but for those that have nothing to do in a kernel."""

import numba
import numpy as np
import pytest
from numba.core.compiler import DefaultPassBuilder, Flags
from numba.core.compiler_machinery import PassManager

from fastfit.runtime import passes
from fastfit.runtime.compile import jit


class _State:
    func_ir = None
    flags = Flags()


def names(pass_manager):
    return [pass_class.name() for pass_class, _ in pass_manager.passes]


def test_numba_has_all_passes_that_are_left_out_or_replaced():
    numbas = {pass_class for pass_class, _ in DefaultPassBuilder.define_nopython_pipeline(_State).passes}
    assert set(passes.NEEDLESS) <= numbas
    assert set(passes.OWN) <= numbas


def test_passes_come_in_numbas_order():
    kernel_passes = passes.kernel_passes(_State)
    assert isinstance(kernel_passes, PassManager)
    numbas = [
        passes.OWN.get(pass_class, pass_class).name()
        for pass_class, _ in DefaultPassBuilder.define_nopython_pipeline(_State).passes
        if pass_class not in passes.NEEDLESS
    ]
    assert names(kernel_passes) == numbas


def make_blend():
    """Return a kernel with loops, branches, tuples, a part, and functions that other kernels call with other types."""

    @jit(internal=True)
    def larger(a, b):
        return (a, 1) if a > b else (b, 0)

    @jit
    def blend(x, scale):
        total, n_larger = 0.0, 0
        for i in range(1, len(x)):
            value, is_larger = larger(x[i] * scale, x[i - 1])
            total += abs(value)
            n_larger += is_larger
            if n_larger > 3:
                break
        return total, n_larger

    return blend


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_kernels_do_what_their_source_says(dtype):
    x = (np.random.default_rng(0).random(20) * 100).astype(dtype)
    blend = make_blend()
    expected = numba.njit(lambda x: (x, 1))  # another user of the same operators, compiled between the two
    total, n_larger = blend(x, 2)
    expected(x[0])
    total_again, n_larger_again = make_blend()(x, 2)
    by_hand, count = 0.0, 0
    for i in range(1, len(x)):
        by_hand += abs(max(dtype(x[i] * 2), x[i - 1]))
        count += x[i] * 2 > x[i - 1]
        if count > 3:
            break
    assert total == total_again == pytest.approx(by_hand, rel=1e-6)
    assert n_larger == n_larger_again == count


def test_a_kernel_that_has_no_types_says_why():
    @jit
    def add_text(x):
        return x + "text"

    with pytest.raises(numba.TypingError, match="add"):
        add_text(1.0)
