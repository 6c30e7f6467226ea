"""What the searches share: scikit-learn's search, with settings that share work fitted as one."""

import time
from collections import defaultdict
from itertools import product

from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel as ConfiguredParallel
from sklearn.utils.parallel import delayed as configured_delayed
from sklearn.utils.validation import _check_method_params

from fastfit.model_selection.evaluation import Split, Task, evaluate_alone, evaluate_group_or_each
from fastfit.model_selection.plan import Plan, plan
from fastfit.model_selection.report import SharingReport
from fastfit.runtime.threads import map_threads, thread_budget
from fastfit.sharing import has_callbacks


class SharingSearch(BaseSearchCV):
    """Mixin behind scikit-learn's class of a search, before its base: ``fit`` that fits nothing twice."""

    # Called with a number of candidates whenever so many have been evaluated on a split; the command line's.
    _on_progress = None

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Evaluate all candidates, and fit the best one to all data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets.

        **params : dict
            Arguments of the estimator's ``fit``, of the scorer and of the splitter (``groups``), as in scikit-learn.

        Returns
        -------
        self : object
            The fitted search.
        """
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        weight = params.get("sample_weight")
        watched = {"X": X, "y": y, "metadata": None if weight is None else {"sample_weight": weight}}
        context = self._init_callback_context(max_subtasks=2 if self.refit is not False else 1)
        context.call_on_fit_task_begin(estimator=self, **watched)
        self._checked_cv_orig = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self._check_input_parameters(X=X, y=y, split_params=routed.splitter.split)
        self.n_splits_ = self._checked_cv_orig.get_n_splits(X, y, **routed.splitter.split)

        task = Task(
            clone(self.estimator),
            X,
            y,
            scorers,
            routed.estimator.fit,
            routed.scorer.score,
            self.error_score,
            self.return_train_score,
        )
        evaluation = _Evaluation(self, task, routed.splitter.split)
        self._run_search(evaluation.evaluate, **evaluation.contexts_of(self._run_search, context))
        refit_metric = self._set_multimetric(evaluation, refit_metric)
        results = evaluation.results
        if self.refit or not self.multimetric_:
            self._set_best(results, refit_metric)
        if self.refit:
            self._refit_best(task, context, watched)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results
        self.sharing_report_ = evaluation.report()
        self.fit_engine_ = "fastfit"
        context.call_on_fit_task_end(estimator=self, **watched)
        return self

    def _set_multimetric(self, evaluation, refit_metric):
        """Find out whether there are several metrics, which a callable ``scoring`` only tells now."""
        first = evaluation.outcomes[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            return self.refit
        return refit_metric

    def _set_best(self, results, refit_metric):
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _refit_best(self, task, context, watched):
        self.best_estimator_ = clone(task.estimator).set_params(**clone(self.best_params_, safe=False))
        context = context.subcontext(task_name="refit-with-best-params")
        with context.propagate_callback_context(self.best_estimator_):
            context.call_on_fit_task_begin(estimator=self, **watched)
            begin = time.time()
            targets = () if task.y is None else (task.y,)
            self.best_estimator_.fit(task.X, *targets, **task.fit_params)
            self.refit_time_ = time.time() - begin
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
            context.call_on_fit_task_end(estimator=self, **watched)


class _Evaluation:
    """All candidates that one search has asked for so far."""

    def __init__(self, search, task, split_params):
        self.search = search
        self.task = task
        self.split_params = split_params
        self.candidates = []
        self.outcomes = []
        self.more_results = defaultdict(list)
        self.results = {}
        self.efforts = []
        # Halving gives more and more of a resource to its candidates. If that is a hyperparameter, fits can go on.
        resource = getattr(search, "resource", "n_samples")
        self.resource = None if resource == "n_samples" else resource.rsplit("__", 1)[-1]
        self.kept = {}

    @staticmethod
    def contexts_of(run_search, context):
        """Return the argument for searches that know of callbacks; custom ones may not."""
        import inspect

        knows = "callback_ctx" in inspect.signature(run_search).parameters
        return {"callback_ctx": context} if knows else {}

    def evaluate(self, candidate_params, cv=None, more_results=None, callback_ctx=None):
        """Evaluate candidates: the callback that ``_run_search`` gets, as scikit-learn documents it."""
        search, task = self.search, self.task
        candidates = list(candidate_params)
        splits = list((cv or search._checked_cv_orig).split(task.X, task.y, **self.split_params))
        if len(splits) != search.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. Expected "
                f"{search.n_splits_} splits, got {len(splits)}"
            )
        n_fits = len(candidates) * len(splits)
        if search.verbose > 0:
            _say(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling {n_fits} fits"
            )
        outcomes = self._run(candidates, splits, callback_ctx)
        if not outcomes:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        _warn_or_raise_about_fit_failures(outcomes, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(outcomes, search.error_score)
        self.candidates += candidates
        self.outcomes += outcomes
        for key, values in (more_results or {}).items():
            self.more_results[key].extend(values)
        self.results = search._format_results(
            self.candidates, search.n_splits_, self.outcomes, self.more_results
        )
        return self.results

    def report(self):
        """Return the `SharingReport` of all that was evaluated."""
        return SharingReport.of(len(self.candidates), len(self.outcomes), self.efforts)

    def _run(self, candidates, splits, context):
        """Return the outcome of each candidate on each split, the splits of the first candidate first."""
        if self._has_watchers(context):
            planned = Plan([], list(range(len(candidates))))
        else:
            planned = plan(self.task.estimator, candidates)
        outcomes = [None] * (len(candidates) * len(splits))
        if planned.groups:
            self._run_groups(planned.groups, candidates, splits, outcomes)
        if planned.others:
            self._run_others(planned.others, candidates, splits, outcomes, context)
        return outcomes

    def _has_watchers(self, context):
        """Return whether somebody wants to see each fit by itself: callbacks, or messages about candidates."""
        return has_callbacks(self.search) or self.search.verbose > 1

    def _run_groups(self, groups, candidates, splits, outcomes):
        search = self.search
        shared = [Split(self.task, *split) for split in splits]
        # Groups that take longer come first; what is left for the end should be short.
        jobs = [(position, group) for group in groups for position in range(len(splits))]

        def run(job):
            done = evaluate_group_or_each(shared[job[0]], job[1], candidates, self._kept_for(*job))
            if search._on_progress is not None:
                search._on_progress(len(job[1].positions))
            return done

        self._forget_all_but(groups)
        if self.resource is not None or (search.n_jobs is None and effective_n_jobs(None) == 1):
            done = map_threads(run, jobs, thread_budget(search.n_jobs))
        else:
            # Kernels release the GIL: threads, unless the user has registered another backend.
            parallel = Parallel(n_jobs=search.n_jobs, prefer="threads", **_dispatch_of(search))
            done = parallel(
                delayed(evaluate_group_or_each)(shared[position], group, candidates)
                for position, group in jobs
            )
        for (split_position, _), (of_group, efforts) in zip(jobs, done, strict=True):
            self.efforts += efforts
            for position, outcome in of_group:
                outcomes[position * len(splits) + split_position] = outcome

    def _kept_for(self, split_position, group):
        """Return where the run of a group is kept, to go on with more of a resource; None where it cannot."""
        if self.resource is None or not group.sharing.goes_on(group.estimators[0], self.resource):
            return None
        return self.kept.setdefault((split_position, group.key), {})

    def _forget_all_but(self, groups):
        """Drop what was kept of candidates that are out."""
        keys = {group.key for group in groups}
        self.kept = {place: runs for place, runs in self.kept.items() if place[1] in keys}

    def _run_others(self, positions, candidates, splits, outcomes, context):
        """Have scikit-learn fit and score, one by one."""
        search = self.search
        pairs = list(product(positions, range(len(splits))))
        contexts = [None] * len(pairs)
        if context is not None:
            contexts = [
                context.subcontext(task_name="candidate-split-evaluation", task_id=i)
                for i in range(len(pairs))
            ]
        parallel = ConfiguredParallel(n_jobs=search.n_jobs, **_dispatch_of(search))
        with parallel:
            done = parallel(
                configured_delayed(evaluate_alone)(
                    Split(self.task, *splits[i]),
                    candidates[position],
                    verbose=search.verbose,
                    split_progress=(i, len(splits)),
                    candidate_progress=(position, len(candidates)),
                    caller=search,
                    callback_ctx=of_pair,
                )
                for (position, i), of_pair in zip(pairs, contexts, strict=True)
            )
        for (position, i), (outcome, effort) in zip(pairs, done, strict=True):
            outcomes[position * len(splits) + i] = outcome
            self.efforts.append(effort)


def _dispatch_of(search):
    return {"pre_dispatch": search.pre_dispatch} if hasattr(search, "pre_dispatch") else {}


def _say(text):
    import sys

    sys.stdout.write(text + "\n")
