"""Models as they were after some of the epochs of one training, for settings that differ in ``max_iter``."""

import copy

# What an epoch changes, the weights aside. Lists are copied.
LEARNED_BY_EPOCHS = (
    "n_iter_",
    "t_",
    "loss_",
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
    "_optimizer",
)


def keep_epoch(loop, is_last):
    """Keep the model after this epoch, if it is one to keep and training goes on."""
    estimator = loop.estimator
    to_keep = estimator.__dict__.get("_epochs_to_keep")
    if not to_keep or estimator.n_iter_ not in to_keep or is_last:
        return
    kept = {name: copy.copy(estimator.__dict__.get(name)) for name in LEARNED_BY_EPOCHS}
    kept["_optimizer"] = copy.deepcopy(loop.optimizer)
    network = loop.network
    if loop.best_weights is None:
        kept["coefs_"], kept["intercepts_"] = network.parameters()
    else:
        present = network.snapshot()
        network.restore(loop.best_weights)
        kept["coefs_"], kept["intercepts_"] = network.parameters()
        network.restore(present)
        kept["_best_coefs"], kept["_best_intercepts"] = kept["coefs_"], kept["intercepts_"]
    to_keep[estimator.n_iter_] = kept
