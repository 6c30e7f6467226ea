"""What settings of ensembles share: the trees, or rounds, of the largest are those of all that differ in their number.

Each tree of a forest has a seed of its own, and these are drawn one after the other; each round of boosting begins
where the one before ended. So the first trees of a large ensemble are the small one, bit for bit.
"""

import numpy as np

from fastfit.sharing import PrefixSharing, is_repeatable, is_valid


class ForestSharing(PrefixSharing):
    """One forest for all ``n_estimators``."""

    varied = ("n_estimators",)
    unit = "trees"
    answer = "_mean_values"

    def covers(self, estimator):
        """Return whether trees can be left out of the forest; out-of-bag estimates would have to be made anew."""
        return (
            is_valid(estimator)
            and not estimator.warm_start
            and not estimator.oob_score
            and not estimator.verbose
        )

    def goes_on(self, estimator, name):
        """Return whether trees can be added."""
        return name in self.varied and is_repeatable(estimator)

    def cut(self, longest, count):
        """Return the first trees."""
        return {"estimators_": longest.estimators_[:count]}

    def stages(self, longest, counts, X):
        """Yield the mean values of the first trees' leaves."""
        X, packed = longest._prepare_prediction(X)
        return None if packed is None else self._means(packed, counts, X, longest.n_jobs)

    @staticmethod
    def _means(packed, counts, X, n_jobs):
        from fastfit.training.tree_prediction import add_forest

        sums = np.zeros((len(X), packed.n_outputs, packed.n_classes))
        done = 0
        for count in counts:
            if count > done:
                add_forest(packed, X, sums.reshape(-1), trees=(done, count), n_jobs=n_jobs)
                done = count
            yield sums / count


class BoostingSharing(PrefixSharing):
    """The rounds of exact gradient boosting for all ``n_estimators``."""

    varied = ("n_estimators",)
    unit = "rounds"
    answer = "_checked_raw_predict"

    def covers(self, estimator):
        """Return whether rounds can be left out."""
        return is_valid(estimator) and not estimator.warm_start and not estimator.verbose

    def goes_on(self, estimator, name):
        """Return whether rounds can be added; early stopping would have to remember its validation data."""
        return name in self.varied and is_repeatable(estimator) and estimator.n_iter_no_change is None

    def cut(self, longest, count):
        """Return the first rounds; early stopping may have ended the fit before."""
        count = min(count, len(longest.estimators_))
        learned = {
            "estimators_": longest.estimators_[:count],
            "train_score_": longest.train_score_[:count],
            "n_estimators_": count,
        }
        for name in ("oob_improvement_", "oob_scores_"):
            if name in longest.__dict__:
                learned[name] = longest.__dict__[name][:count]
        if "oob_scores_" in learned:
            learned["oob_score_"] = learned["oob_scores_"][-1]
        return learned

    def stages(self, longest, counts, X):
        """Yield the raw predictions of the first rounds."""
        stages = longest._staged_raw_predict(X)
        done, raw = 0, None
        for count in counts:
            for _ in range(done, min(count, len(longest.estimators_))):
                raw = next(stages)
                done += 1
            yield raw.copy()

    def work_done(self, longest):
        """Return the number of rounds, which early stopping may have ended."""
        return len(longest.estimators_)


class HistogramBoostingSharing(PrefixSharing):
    """The rounds of boosting on histograms for all ``max_iter``."""

    varied = ("max_iter",)
    unit = "rounds"
    answer = "_raw_predict"

    def covers(self, estimator):
        """Return whether rounds can be left out."""
        return is_valid(estimator) and not estimator.warm_start and not estimator.verbose

    def goes_on(self, estimator, name):
        """Return whether rounds can be added; early stopping would begin to wait anew."""
        return name in self.varied and is_repeatable(estimator) and estimator.early_stopping is False

    def cut(self, longest, count):
        """Return the first rounds; scores are there from before the first."""
        return {
            "_predictors": longest._predictors[:count],
            "train_score_": longest.train_score_[: count + 1],
            "validation_score_": longest.validation_score_[: count + 1],
            "loss_curve_": longest.loss_curve_[:count],
        }

    def stages(self, longest, counts, X):
        """Yield the raw predictions of the first rounds."""
        from fastfit.training.boosting_prediction import predict_raw

        features = longest._features_to_predict(X)
        raw, done = longest._baseline_prediction, 0
        for count in counts:
            of_rounds = longest._predictors[done:count]
            if of_rounds:
                # The sums so far stand in for the baseline, so that they are added up as for all rounds at once.
                raw = predict_raw(longest._pack(of_rounds), features, raw, n_jobs=longest.n_jobs)
                done += len(of_rounds)
            yield raw.copy(order="F")

    def work_done(self, longest):
        """Return the number of rounds, which early stopping may have ended."""
        return len(longest._predictors)
