"""Trees that differ in their limits, grown as one: classification by the Gini impurity, all features tried."""

import numpy as np

from fastfit.kernels.feature_draw import DrawState
from fastfit.kernels.tree_memo import (
    BY_DEPTH,
    CLASS_MASK,
    DONE,
    ENTRIES,
    FULL,
    N_EXPANDED,
    NODE_COLUMNS,
    NODES,
    NOWHERE,
    ROW_MASK,
    SPLIT_COLUMNS,
    SPLITS,
    STACK_COLUMNS,
    STATUS,
    Memory,
    WalkState,
    walk,
)
from fastfit.kernels.tree_memo_root import fill_root
from fastfit.kernels.tree_node import DEEPEST, N_NODES, NODE_FIELDS, NODE_INTS, NodeState
from fastfit.runtime.threads import run_team
from fastfit.training.tree_buffers import LONG_X

# Bits of a mask of features, the sign aside.
MAX_FEATURES = 62
# Nodes keep their samples in the order of each feature: memory for so many levels at first, and no more than this.
LEVELS_AT_FIRST = 24
MAX_BYTES = 1 << 30
# Rows that are not predicted.
NO_ROWS = np.empty((1, 0), np.float32)


def covers(data, target, sample_weight, options):
    """Tell whether trees with these options, and any limits, can be read out of one memory."""
    return (
        options.criterion == "gini"
        and options.splitter == "best"
        and options.max_features >= data.n_features
        and options.max_leaf_nodes <= 0
        and options.min_weight_leaf == 0.0
        and options.monotonic_cst is None
        and sample_weight is None
        and not data.any_missing
        and data.cuts is None
        and data.n_features <= MAX_FEATURES
        and target.y.shape[1] == 1
        and target.n_classes[0] <= CLASS_MASK
        and data.n_samples <= ROW_MASK
        and LEVELS_AT_FIRST * 8 * data.X_t.size <= MAX_BYTES
    )


class TreeMemory:
    """What is known of the nodes of all trees that differ in their limits.

    Parameters
    ----------
    data : TreeData
    target : Target
    min_samples_leaf : int
    """

    def __init__(self, data, target, min_samples_leaf):
        n_features, n_samples = data.X_t.shape
        n_classes = int(target.n_classes[0])
        self.data = data
        rng = np.random.default_rng(0)
        # Small enough that no sum of them overflows.
        keys = rng.integers(1 << (62 - n_samples.bit_length()), size=n_samples)
        capacity = LEVELS_AT_FIRST * n_samples
        n_nodes = max(1024, n_samples)
        self.memory = Memory(
            entries=np.empty((n_features, capacity), np.uint64),
            nodes=np.empty((n_nodes, NODE_COLUMNS), np.int64),
            counts=np.empty((n_nodes, n_classes), np.int64),
            impurity=np.empty(n_nodes),
            splits=np.empty((4 * n_nodes, SPLIT_COLUMNS), np.int64),
            improvement=np.empty(4 * n_nodes),
            table=_empty_table(n_nodes),
            used=np.zeros(4, np.int64),
            keys=keys,
            is_left=np.zeros(n_samples, np.uint8),
            scan=np.zeros((3, n_classes), np.int64),
            levels=np.empty(data.X_t.size, np.float32),
            level_start=np.arange(n_features + 1) * n_samples,
            is_close=data.sorted_rows[2],
            n_samples=n_samples,
            min_samples_leaf=min_samples_leaf,
        )
        self._sort_entries(target.y[:, 0].astype(np.uint64))
        self.n_walks = 0

    @property
    def n_expanded(self):
        """Number of nodes whose splits were looked for."""
        return int(self.memory.used[N_EXPANDED])

    def grow(self, options, seed, test_t=None):
        """Return the tree of some limits.

        Parameters
        ----------
        options : GrowthOptions
        seed : int
        test_t : ndarray of shape (n_features, n_test) of float32, or None
            Rows to find the leaves of, transposed.

        Returns
        -------
        grown : GrownTree
        leaves : ndarray of shape (n_test,) of int64
        is_bounded : bool
            Whether a greater depth could give another tree.

        Raises
        ------
        MemoryError
            If there would be more nodes than memory is set aside for.
        """
        from fastfit.training.tree_growth import GrownTree

        while True:
            state = self._state(options, seed, test_t)
            run_team(
                walk,
                1,
                self.memory,
                state,
                options.max_depth,
                options.min_samples_split,
                options.min_impurity_decrease,
                may_be_long=self.data.X_t.size > LONG_X,
            )
            status = state.count[STATUS]
            if status == DONE:
                break
            if status == FULL:
                self._make_room()
        self.n_walks += 1
        n_nodes = int(state.count[N_NODES])
        values = state.values[:n_nodes, np.newaxis].copy()
        grown = GrownTree(state.table_ints[:n_nodes].copy(), values, int(state.count[DEEPEST]))
        return grown, state.leaves, bool(state.count[BY_DEPTH])

    def _sort_entries(self, classes):
        """Make the root's entries: all samples by ascending value of each feature."""
        run_team(
            fill_root,
            1,
            self.data.X_t,
            self.data.sorted_rows[0],
            classes,
            self.memory.levels,
            self.memory.entries,
        )

    def _state(self, options, seed, test_t):
        n_samples, n_features = self.data.n_samples, self.data.n_features
        capacity = 2 * n_samples - 1
        if options.max_depth < 40:
            capacity = min(capacity, 2 ** (options.max_depth + 1) - 1)
        test_t = NO_ROWS if test_t is None else test_t
        n_test = test_t.shape[1]
        ints = np.empty((capacity, NODE_FIELDS), np.int64)
        return WalkState(
            draw=DrawState(np.arange(n_features), np.zeros(n_features, np.int64), np.full(1, seed, np.int64)),
            node=NodeState(np.zeros(NODE_INTS, np.int64), np.zeros(1)),
            chosen=np.zeros(1, np.int64),
            masks=np.zeros(2, np.int64),
            stack=np.empty((min(options.max_depth, n_samples) + 3, STACK_COLUMNS), np.int64),
            table_ints=ints,
            table_floats=ints.view(np.float64),
            count=np.zeros(4, np.int64),
            values=np.empty((capacity, self.memory.counts.shape[1])),
            test_t=test_t,
            rows=np.arange(n_test, dtype=np.int32),
            rows_buffer=np.empty(n_test, np.int32),
            leaves=np.empty(n_test, np.int64),
        )

    def _make_room(self):
        """Double what is nearly full."""
        memory = self.memory
        used = memory.used
        changed = {}
        if 2 * (used[ENTRIES] + memory.n_samples + 1) > memory.entries.shape[1]:
            n_features, capacity = memory.entries.shape
            if 2 * memory.entries.nbytes > MAX_BYTES:
                raise MemoryError("too many different nodes")
            entries = np.empty((n_features, 2 * capacity), np.uint64)
            entries[:, : used[ENTRIES]] = memory.entries[:, : used[ENTRIES]]
            changed["entries"] = entries
        if 2 * used[NODES] + 4 > len(memory.nodes):
            for name in ("nodes", "counts", "impurity"):
                changed[name] = _doubled(getattr(memory, name))
            changed["table"] = _table_of(changed["nodes"], int(used[NODES]))
        if 2 * (used[SPLITS] + self.data.n_features) > len(memory.splits):
            for name in ("splits", "improvement"):
                changed[name] = _doubled(getattr(memory, name))
        self.memory = memory._replace(**changed)


def _doubled(array):
    larger = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def _empty_table(n_nodes):
    return np.full(1 << (4 * n_nodes - 1).bit_length(), NOWHERE, np.int64)


def _table_of(nodes, n_used):
    """Return the table by hash of the nodes that there are."""
    from fastfit.kernels.tree_memo import HASH, SIZE

    table = _empty_table(len(nodes))
    mask = len(table) - 1
    for node in range(n_used):
        key, size = int(nodes[node, HASH]), int(nodes[node, SIZE])
        slot = (key ^ (key >> 29) ^ size) & mask
        while table[slot] != NOWHERE:
            slot = (slot + 1) & mask
        table[slot] = node
    return table
