"""Genuine scikit-learn trees with random nodes: of any shape, with thresholds that training would hardly produce."""

import numpy as np
from sklearn.tree._tree import NODE_DTYPE, Tree

# Values and thresholds are drawn from these, so that many are equal.
VALUES = np.array(
    [-np.inf, -3e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 0.1, 1 / 3, 2.0, 3e38, np.inf], dtype=np.float32
)
THRESHOLDS = np.array(
    [*VALUES, 0.1, 1 / 3, 1e-60, -1e-60, -0.1, 1.0000000001 * np.float32(0.1), 1e300, -1e300],
    dtype=np.float64,
)


def make_tree(rng, n_splits, n_features=3, n_outputs=1, n_classes=2, *, shape="random"):
    """Return a Tree of so many inner nodes in depth-first order; shape "random", "left" or "right" (a chain)."""
    nodes = np.zeros(2 * n_splits + 1, dtype=NODE_DTYPE)
    values = rng.choice([0.0, 1.0, 0.5, 1 / 3, 2 / 3], size=(len(nodes), n_outputs, n_classes))
    waiting = [(n_splits, None, None)]
    for node in range(len(nodes)):
        n_below, parent, side = waiting.pop()
        if parent is not None:
            nodes[side][parent] = node
        nodes["n_node_samples"][node] = n_below + 1
        if n_below == 0:
            nodes["left_child"][node] = nodes["right_child"][node] = -1
            nodes["feature"][node] = nodes["threshold"][node] = -2
            continue
        nodes["feature"][node] = rng.integers(n_features)
        nodes["threshold"][node] = rng.choice(THRESHOLDS)
        nodes["missing_go_to_left"][node] = rng.integers(2)
        n_left = {"left": n_below - 1, "right": 0}.get(shape, int(rng.integers(n_below)))
        waiting.append((n_below - 1 - n_left, node, "right_child"))
        waiting.append((n_left, node, "left_child"))
    tree = Tree(n_features, np.full(n_outputs, n_classes, dtype=np.intp), n_outputs)
    tree.__setstate__({"max_depth": n_splits, "node_count": len(nodes), "nodes": nodes, "values": values})
    return tree


def make_rows(rng, n_rows, n_features=3, missing=0.2):
    """Return float32 rows of the values that thresholds are compared with, with a share of NaN of both signs."""
    X = rng.choice(VALUES, size=(n_rows, n_features))
    X[rng.random(X.shape) < missing] = np.nan
    return np.where(rng.random(X.shape) < 0.5, X, np.copysign(X, np.where(np.isnan(X), -1, X)))


def state_of(trees):
    """Return the node tables and the values of some trees."""
    states = [tree.__getstate__() for tree in trees]
    return [state["nodes"] for state in states], [state["values"] for state in states]
