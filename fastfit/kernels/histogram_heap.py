"""The nodes that wait to be split: a heap that makes the moves of Python's ``heapq``, or a stack.

Which of two nodes of equal gain is split first is part of the model where the number of leaves is bounded, and
scikit-learn leaves it to ``heapq`` (Williams, "Algorithm 232: Heapsort", 1964; the hole sinks to the bottom before it
is filled).
"""

from fastfit.kernels.histogram_tree import GAIN
from fastfit.runtime.compile import jit


@jit(internal=True)
def _rise(heap, floats, first, position):
    """Move the node at a position up to where it belongs, no further than to ``first``."""
    node = heap[position]
    while position > first:
        parent = (position - 1) >> 1
        if not floats[node, GAIN] > floats[heap[parent], GAIN]:
            break
        heap[position] = heap[parent]
        position = parent
    heap[position] = node


@jit(internal=True)
def push(
    heap,  # (capacity,) int64: nodes
    floats,  # (capacity, NODE_FLOATS) float64
    size,
    node,
    best_first,
):
    """Add a node to those that wait, whose number was ``size``."""
    heap[size] = node
    if best_first:
        _rise(heap, floats, 0, size)


@jit(internal=True)
def pop(heap, floats, size, best_first):
    """Take out the node of the greatest gain, or the last one, of ``size``; return it."""
    last = heap[size - 1]
    if not best_first or size == 1:
        return last
    top = heap[0]
    end = size - 1
    hole = 0
    child = 1
    while child < end:
        if child + 1 < end and not floats[heap[child], GAIN] > floats[heap[child + 1], GAIN]:
            child += 1
        heap[hole] = heap[child]
        hole = child
        child = 2 * hole + 1
    heap[hole] = last
    _rise(heap, floats, 0, hole)
    return top
