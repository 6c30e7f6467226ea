"""The network of an MLPClassifier in PyTorch, as a person would write it: to compare times with.

Importing this needs torch. Batches are taken from a permuted tensor, which is quicker than a DataLoader; the optimizer
is the fused one; and as many threads are used as fastfit may.
"""

from itertools import pairwise

import numpy as np
import torch

from fastfit.runtime.threads import thread_budget


class TorchClassifier:
    """Cross-entropy, ReLU and Adam.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int
    batch_size, max_iter : int
    random_state : int
    **unused
        Of scikit-learn's other hyperparameters, those that stand at Adam's own defaults.
    """

    def __init__(self, hidden_layer_sizes, batch_size, max_iter, random_state=0, **unused):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X, y):
        """Train from the first weights on."""
        torch.set_num_threads(thread_budget())
        torch.manual_seed(self.random_state)
        X, y = torch.from_numpy(X), torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64))
        units = [X.shape[1], *self.hidden_layer_sizes]
        layers = []
        for fan_in, fan_out in pairwise(units):
            layers += [torch.nn.Linear(fan_in, fan_out, dtype=X.dtype), torch.nn.ReLU()]
        layers.append(torch.nn.Linear(units[-1], int(y.max()) + 1, dtype=X.dtype))
        self.network_ = torch.nn.Sequential(*layers)
        optimizer = torch.optim.Adam(self.network_.parameters(), fused=True)
        loss_of = torch.nn.CrossEntropyLoss()
        for _ in range(self.max_iter):
            for rows in torch.randperm(len(X)).split(self.batch_size):
                optimizer.zero_grad(set_to_none=True)
                loss_of(self.network_(X[rows]), y[rows]).backward()
                optimizer.step()
        return self

    def predict(self, X):
        """Predict the index of the class of each row."""
        torch.set_num_threads(thread_budget())
        with torch.inference_mode():
            return self.network_(torch.from_numpy(X)).argmax(dim=1).numpy()

    def score(self, X, y):
        """Accuracy."""
        return float(np.mean(self.predict(X) == y))
