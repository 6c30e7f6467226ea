"""A kernel's machine code keeps its parts to itself, so that kernels compiled by different processes can meet."""

import numpy as np

from fastfit.runtime.compile import jit


def make_sum(scale):
    """Return a kernel with a part that is too large to be taken up at each of its calls."""

    @jit(internal=True)
    def part(x, power):
        total = 0.0
        for i in range(len(x)):
            a = x[i] * scale
            for j in range(i, len(x)):
                b = a * x[j] + power
                c = b * b - a
                total += (c * a + b) / (1.0 + a * a)
                if total > c:
                    for k in range(j, len(x)):
                        d = c * x[k] + total
                        total += (d * d + c) / (1.0 + b * b)
                        if d > total:
                            total -= a * b * c * d / (1.0 + d * d)
                elif total < b:
                    for k in range(j):
                        d = b * x[k] - total
                        total += (d * a + b) / (1.0 + c * c)
                        if d < total:
                            total -= (a + b) * (c + d) / (2.0 + d * d)
        return total

    @jit
    def add_up(x):
        several = part(x, 1.0) + part(x, 2.0) * part(x[1:], 3.0) + part(x[2:], x[0])
        return several + part(x, 5.0) / (1.0 + part(x, x[1]) * part(x, 7.0)) - part(x, several)

    return add_up


def test_nobody_else_sees_the_parts_of_a_kernel():
    kernel = make_sum(2.0)
    kernel(np.ones(4))
    (overload,) = kernel.overloads.values()
    functions = [f for f in overload.library._final_module.functions if not f.is_declaration]
    parts = [f for f in functions if "part" in f.name]
    assert len(parts) > 0
    assert {f.linkage.name for f in parts} == {"internal"}
    assert {f.linkage.name for f in functions if f not in parts} == {"external"}
