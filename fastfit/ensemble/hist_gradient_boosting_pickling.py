"""Pickles of boosted trees in about a tenth of the bytes, for models that are stored or sent.

scikit-learn's nodes take 56 bytes each. Most of that follows from the rest: nodes are numbered parents first, each left
subtree before the right one, so that one bit a node (leaf or not) gives all children and depths; a count is the sum of
the children's; a threshold stands in the bin mapper. What remains is written column by column and compressed.
"""

import copy
import zlib

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

# Fields that a round trip must give back exactly, or the trees are pickled as they are.
EXACT_FIELDS = (
    "count",
    "feature_idx",
    "num_threshold",
    "missing_go_to_left",
    "left",
    "right",
    "depth",
    "is_leaf",
    "bin_threshold",
    "is_categorical",
    "bitset_idx",
)
# The upper half of a float32: its sign, exponent and seven bits.
HALF_BITS, ROUND_UP = 16, 1 << 15
NO_GAIN = -1.0  # what scikit-learn gives leaves that were never looked at


class CompactPickles:
    """Mixin before scikit-learn's class: what `compact_pickle` does."""

    def __getstate__(self):
        state = super().__getstate__()
        if not self.compact_pickle or "_predictors" not in state:
            return state
        packed = pack(state["_predictors"], state["_bin_mapper"])
        if packed is None:
            return state
        state = {name: value for name, value in state.items() if name != "_predictors"}
        state["_bin_mapper"] = thin_mapper(state["_bin_mapper"])
        state["_compact_trees"] = packed
        return state

    def __setstate__(self, state):
        packed = state.get("_compact_trees")
        if packed is not None:
            state = {name: value for name, value in state.items() if name != "_compact_trees"}
            mapper = state["_bin_mapper"]
            mapper.bin_thresholds_ = _unpack_thresholds(packed, mapper)
            state["_predictors"] = unpack(packed, mapper)
        super().__setstate__(state)

    def __copy__(self):
        # copy.copy and copy.deepcopy would go by the state of a pickle, and round.
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo):
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied


def pack(predictors, mapper):
    """Return the trees as a dict of compressed columns, or None where they are not as scikit-learn numbers them.

    Parameters
    ----------
    predictors : list of list of TreePredictor
    mapper : _BinMapper
    """
    trees = [tree for of_round in predictors for tree in of_round]
    nodes = np.concatenate([tree.nodes for tree in trees])
    inner = nodes["is_leaf"] == 0
    leaves, splits = nodes[~inner], nodes[inner]
    used, used_thresholds = _used_thresholds(splits, mapper)
    columns = {
        "is_leaf": np.packbits(~inner),
        "value": leaves["value"].astype(np.float32),
        "count": _narrow(leaves["count"]),
        "feature": _narrow(splits["feature_idx"]),
        "bin": splits["bin_threshold"].copy(),
        "gain": _half(splits["gain"]),
        "missing_go_to_left": np.packbits(splits["missing_go_to_left"]),
        "is_categorical": np.packbits(splits["is_categorical"]),
        "n_nodes": _narrow(np.array([len(tree.nodes) for tree in trees])),
        "n_trees": _narrow(np.array([len(of_round) for of_round in predictors])),
        "used": np.packbits(used),
        "used_thresholds": used_thresholds,
    }
    for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets"):
        columns[name] = np.concatenate([getattr(tree, name) for tree in trees]).reshape(-1)
    # Bytes of equal rank side by side: those of the exponents repeat.
    packed = {name: (column.dtype.str, *_compress(column)) for name, column in columns.items()}
    restored = [tree for of_round in unpack(packed, mapper) for tree in of_round]
    restored_nodes = np.concatenate([tree.nodes for tree in restored])
    same = all(np.array_equal(nodes[name], restored_nodes[name]) for name in EXACT_FIELDS)
    return packed if same else None


def unpack(packed, mapper):
    """Return the trees that `pack` packed: a list of lists of TreePredictor."""
    columns = {name: _column(packed, name) for name in packed}
    n_nodes = columns["n_nodes"].astype(np.int64)
    total = int(n_nodes.sum())
    nodes = np.zeros(total, dtype=PREDICTOR_RECORD_DTYPE)
    is_leaf = np.unpackbits(columns["is_leaf"], count=total).astype(bool)
    inner = ~is_leaf
    n_inner = int(inner.sum())
    nodes["is_leaf"] = is_leaf
    nodes["value"][is_leaf] = columns["value"]
    nodes["count"][is_leaf] = columns["count"]
    nodes["gain"] = NO_GAIN
    nodes["gain"][inner] = _from_half(columns["gain"])
    nodes["feature_idx"][inner] = columns["feature"]
    nodes["bin_threshold"][inner] = columns["bin"]
    for name in ("missing_go_to_left", "is_categorical"):
        nodes[name][inner] = np.unpackbits(columns[name], count=n_inner)
    bitsets = [columns[name].reshape(-1, 8) for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets")]
    trees = []
    first, first_bitset = 0, 0
    for n_of_tree in n_nodes.tolist():
        of_tree = nodes[first : first + n_of_tree]
        _link(of_tree)
        n_bitsets = _fill_thresholds(of_tree, mapper)
        of_bitsets = [rows[first_bitset : first_bitset + n_bitsets].copy() for rows in bitsets]
        trees.append(TreePredictor(of_tree, *of_bitsets))
        first, first_bitset = first + n_of_tree, first_bitset + n_bitsets
    remaining = iter(trees)
    return [[next(remaining) for _ in range(n)] for n in columns["n_trees"].tolist()]


def thin_mapper(mapper):
    """Return a copy of the mapper without the thresholds of continuous features."""
    thin = copy.copy(mapper)
    thin.bin_thresholds_ = [
        of_feature if is_categorical else None
        for of_feature, is_categorical in zip(mapper.bin_thresholds_, mapper.is_categorical_, strict=True)
    ]
    return thin


def _used_thresholds(splits, mapper):
    """Return which thresholds, of all features one after another, are those of a split, and these."""
    offsets = _threshold_offsets(mapper)
    used = np.zeros(offsets[-1], dtype=bool)
    features, bins = splits["feature_idx"], splits["bin_threshold"]
    of_values = (mapper.is_categorical_[features] == 0) & (bins + 1 < mapper.n_bins_non_missing_[features])
    used[offsets[features[of_values]] + bins[of_values]] = True
    continuous = [
        of_feature
        for of_feature, is_categorical in zip(mapper.bin_thresholds_, mapper.is_categorical_, strict=True)
        if not is_categorical
    ]
    return used, np.concatenate([*continuous, np.empty(0)])[used]


def _unpack_thresholds(packed, mapper):
    """Return the thresholds of each feature, NaN for those that no split uses."""
    offsets = _threshold_offsets(mapper)
    used = np.unpackbits(_column(packed, "used"), count=offsets[-1]).astype(bool)
    flat = np.full(offsets[-1], np.nan)
    flat[used] = _column(packed, "used_thresholds")
    return [
        flat[offsets[feature] : offsets[feature + 1]].copy() if of_feature is None else of_feature
        for feature, of_feature in enumerate(mapper.bin_thresholds_)
    ]


def _threshold_offsets(mapper):
    """Return where the thresholds of each feature begin, and their number at the end."""
    counts = np.where(mapper.is_categorical_ == 1, 0, mapper.n_bins_non_missing_.astype(np.int64) - 1)
    return np.concatenate([[0], np.cumsum(counts)])


def _link(nodes):
    """Fill in children, depths and counts of a tree whose leaves are known."""
    is_leaf = nodes["is_leaf"].tolist()
    counts = nodes["count"].tolist()
    n_nodes = len(is_leaf)
    ends = [0] * n_nodes  # of each node's subtree
    right, depths = [0] * n_nodes, [0] * n_nodes
    for node in range(n_nodes - 1, -1, -1):
        if is_leaf[node]:
            ends[node] = node + 1
        else:
            right[node] = ends[node + 1]
            ends[node] = ends[right[node]]
            counts[node] = counts[node + 1] + counts[right[node]]
    for node in range(n_nodes):
        if not is_leaf[node]:
            depths[node + 1] = depths[right[node]] = depths[node] + 1
    inner = nodes["is_leaf"] == 0
    nodes["left"][inner] = np.flatnonzero(inner) + 1
    nodes["right"] = right
    nodes["depth"] = depths
    nodes["count"] = counts


def _fill_thresholds(nodes, mapper):
    """Fill in the thresholds of the splits and the places of their bitsets; return the number of those."""
    n_bitsets = n_filled = 0
    for node in np.flatnonzero(nodes["is_leaf"] == 0).tolist():
        feature, bin_idx = int(nodes["feature_idx"][node]), int(nodes["bin_threshold"][node])
        is_categorical = bool(nodes["is_categorical"][node])
        n_bitsets += is_categorical
        if bin_idx == int(mapper.n_bins_non_missing_[feature]) - 1:
            nodes["num_threshold"][node] = np.inf
        elif is_categorical:
            nodes["bitset_idx"][node] = n_filled
            n_filled += 1
        else:
            nodes["num_threshold"][node] = mapper.bin_thresholds_[feature][bin_idx]
    return n_bitsets


def _narrow(values):
    """Return whole numbers in the fewest bytes that hold them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _half(values):
    """Return the upper halves of float32 numbers, rounded."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(ROUND_UP)) >> np.uint32(HALF_BITS)).astype(np.uint16)


def _from_half(halves):
    return (halves.astype(np.uint32) << np.uint32(HALF_BITS)).view(np.float32)


def _compress(column):
    by_rank = np.ascontiguousarray(column).view(np.uint8).reshape(len(column), column.dtype.itemsize).T
    return len(column), zlib.compress(by_rank.tobytes(), 9)


def _column(packed, name):
    dtype, n, compressed = packed[name]
    dtype = np.dtype(dtype)
    by_rank = np.frombuffer(zlib.decompress(compressed), dtype=np.uint8).reshape(dtype.itemsize, n)
    return np.ascontiguousarray(by_rank.T).reshape(-1).view(dtype)
