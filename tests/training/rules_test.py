"""The rules between epochs by themselves; tests/parity/callbacks_test.py compares them with Keras's callbacks."""

import json

from configs import base
from digits.training import rules


def test_rules_survive_json():
    plateau, stopping = rules.Plateau(0.1), rules.EarlyStopping()
    plateau.update(base.get_config().schedule, "val_loss", 0.1 + 0.2)
    stopping.update(base.get_config().early_stopping, "val_loss", 1 / 3, 1)
    for rule in (plateau, stopping):
        assert type(rule)(**json.loads(json.dumps(vars(rule)))) == rule


def test_the_plateau_rule_rests_after_it_lowered_the_rate_and_stops_at_the_lowest():
    config = base.get_config().schedule
    config.factor, config.patience, config.cooldown, config.min_learning_rate = 0.5, 1, 2, 0.03
    plateau, rates = rules.Plateau(0.1), []
    for loss in (0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6):
        plateau.update(config, "val_loss", loss)
        rates.append(plateau.learning_rate)
    assert rates == [0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]


def test_early_stopping_waits_for_an_improvement_of_min_delta():
    config = base.get_config().early_stopping
    config.patience, config.min_delta = 2, 0.01
    stopping, stops = rules.EarlyStopping(), []
    for epoch, accuracy in enumerate((0.8, 0.805, 0.82, 0.825, 0.829), start=1):
        stopping.update(config, "val_accuracy", accuracy, epoch)
        stops.append(stopping.stop)
    assert stops == [False, False, False, False, True] and stopping.best_epoch == 3
