"""Where the parameters and activations of a network lie, and how a team shares them out."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastfit.kernels.network_plan import GROUP_BYTES, UNIT_BYTES, Layer, Unit


class Packing(NamedTuple):
    """Where the parameters of each layer lie."""

    layers: list  # of Layer, for batches of one row
    n_values: int
    n_transposed: int
    row_values: int  # values of one sample's activations, without the input

    @classmethod
    def of(cls, spec):
        """Lay out a network."""
        strides = [whole_groups(units, spec.dtype.itemsize) for units in spec.layer_units]
        layers, values, transposed, activations = [], 0, 0, 0
        for i, (fan_in, fan_out) in enumerate(pairwise(spec.layer_units)):
            input_at = activations - strides[i] if i else -1
            stride = strides[i + 1]
            layers.append(
                Layer(fan_in, fan_out, strides[i], stride, values, transposed, input_at, activations)
            )
            values += (fan_in + 1) * stride
            transposed += fan_out * strides[i] if i else 0
            activations += stride
        return cls(layers, values, transposed, activations)

    def for_batch(self, batch_size, in_place):
        """The layers with positions for batches of so many rows, as kernels read them; the input may be X itself."""
        table = np.array(self.layers, dtype=np.int64).reshape(-1, len(Layer._fields))
        if in_place:
            table[0, 2] = self.layers[0].fan_in
        table[:, 6:] *= batch_size
        return table.ravel()

    def shares(self, n_threads, itemsize):
        """Share out the neurons of the first hidden layer and the parameters.

        Returns
        -------
        units : list of Unit
            Those of the first member, then those of the second, and so on.
        unit_starts, column_starts : list of int
            Where each member's begin, and behind all.
        scratch_size : int
            Gradients of a unit of each layer.
        """
        has_hidden = len(self.layers) > 1
        unit_rows = [max(1, UNIT_BYTES // (8 * layer.out_stride * itemsize)) * 8 for layer in self.layers]
        scratch = np.cumsum(
            [0, *(n * layer.out_stride for n, layer in zip(unit_rows, self.layers, strict=True))]
        ).tolist()
        units, unit_starts, column_starts = [], [0], [0]
        for member in range(n_threads):
            for number, layer in enumerate(self.layers):
                rows = 0, layer.fan_in
                shared = columns = _share(layer.fan_out, (member, n_threads), itemsize)
                # Of the first layer a member has columns, those of its neurons; of the others rows, which for the
                # second layer are those of its neurons again. Without a hidden layer, rows are all that can be shared.
                if number > 0 or not has_hidden:
                    rows, columns = _share(layer.fan_in, (member, n_threads), itemsize), (0, layer.fan_out)
                parts = [
                    (first, min(unit_rows[number], rows[1] - first), *columns)
                    for first in range(*rows, unit_rows[number])
                ]
                for first, n_rows, begin, end in [*parts, (layer.fan_in, 1, *shared)]:
                    is_cut = number == 0 and has_hidden
                    stride = whole_groups(end - begin, itemsize) if is_cut else layer.out_stride
                    at = layer.parameters_at + first * stride + begin * (layer.fan_in + 1 if is_cut else 1)
                    if end > begin:
                        unit = Unit(number, first, n_rows, begin, end - begin, at, stride, scratch[number])
                        units.append(unit)
                if number == 0:
                    column_starts.append(shared[1] if has_hidden else 0)
            unit_starts.append(len(units))
        return units, unit_starts, column_starts, scratch[-1]


def whole_groups(n_neurons, itemsize):
    """Round a number of neurons up to whole groups."""
    per_group = GROUP_BYTES // itemsize
    return -(-n_neurons // per_group) * per_group


def _share(n_neurons, place, itemsize):
    """Return the first of a member's neurons and the one behind the last; `place` is (member, number of members)."""
    per_group, (member, n_threads) = GROUP_BYTES // itemsize, place
    n = -(-n_neurons // per_group)
    first, last = n * member // n_threads, n * (member + 1) // n_threads
    return min(first * per_group, n_neurons), min(last * per_group, n_neurons)
