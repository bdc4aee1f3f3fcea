"""What the code takes as tuned is what the committed trials chose, and every method had as many trials."""

import ast
from pathlib import Path

import pandas as pd
import pytest

from rrmlab.agents.config import AgentConfig, method_name
from rrmlab.study import tuning

# Their trials were made by the same grid on a log of the same kind; the next run at full size commits them.
NOT_COMMITTED = ("CTDE-MARL-CQL (QMIX)", "CTDE-MARL-CQL (QMIX, DQN)")
TABLES = Path(__file__).resolve().parents[1] / "figures" / "tables"


def taken():
    """Method, table of its trials, and the hyper-parameters that the study takes."""
    for learner, choice in tuning.TUNED.items():
        method = method_name(AgentConfig(*learner))
        if method not in NOT_COMMITTED:
            yield method, "04_training_paradigms_tuning", choice
    yield "BC", "04_training_paradigms_tuning", tuning.BC_TUNED
    for backbone, choice in tuning.ONLINE_TUNED.items():
        yield method_name(AgentConfig(backbone=backbone), online=True), "03_datasets_tuning", choice


@pytest.mark.parametrize("method, table, choice", list(taken()), ids=lambda value: value if type(value) is str else "")
def test_the_best_trial_is_taken(method, table, choice):
    trials = pd.read_csv(TABLES / f"{table}.csv")
    trials = trials[trials.method == method]
    assert trials.trial.nunique() == 12
    best = trials[trials.trial == trials.groupby("trial").score.mean().idxmax()].iloc[0]
    for name, value in choice.items():
        found = ast.literal_eval(best[name]) if name == "hidden" else best[name]
        assert found == value, name


def test_the_best_point_of_itlinq_is_taken():
    surface = pd.read_csv(TABLES / "02_baselines_itlinq.csv")
    best = surface.loc[surface.score.idxmax()]
    assert (best.m_db, best.eta) == tuning.ITLINQ_TUNED


def test_only_what_is_named_is_not_committed():
    trials = pd.read_csv(TABLES / "04_training_paradigms_tuning.csv")
    learners = {method_name(AgentConfig(*learner)) for learner in tuning.TUNED} | {"BC"}
    assert learners - set(trials.method) == set(NOT_COMMITTED)
