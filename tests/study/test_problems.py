"""What is wrong with a study file: one broken study each, and the exact message with place, value and hint."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

from pathlib import Path

import pytest
from design_toy import problems_of

# text of the valid study: what it is replaced by, and the problem, or problems, without the name of the file
CASES: dict[str, dict[str, str | list[str]]] = {
    'name = "toy"': {
        "name = 3": "name: must be text (got 3)",
        'name = "a/b"': 'name: must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "a/b")',
        'name = ".."': 'name: must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "..")',
    },
    'question = "Does the extra part help?"\n': {
        "": "question: is missing",
    },
    '"Does the extra part help?"': {
        '"  "': "question: must not be empty",
    },
    'baseline = "plain"': {
        'baseline = "plan"': "baseline: is not an arm of this study (got \"plan\"); did you mean 'plain'?",
        'baseline = "constant"': 'baseline: must not be a reference arm (got "constant"); valid: extra, plain, wide',
    },
    'label = "Plain"': {
        'lable = "Plain"': "arms.plain.lable: unknown key; did you mean 'label'?",
        'label = "Plain"\nknows_truth = true': "arms.plain.knows_truth: is for a reference: an arm that is given the "
        "truth is no fair comparison (got true); reference = true",
    },
    "seeds = [1, 2, 3]": {
        "seeds = [1, 2, 3]\nmetrcs = []": "metrcs: unknown key; did you mean 'metrics'?",
        'seeds = "1"': 'seeds: must be a list (got "1")',
        'seeds = [1, "2", 3]': 'seeds[1]: must be a whole number (got "2")',
        "seeds = []": "seeds: must not be empty",
        "seeds = [1, -2, 3]": "seeds: must be from 0 to 4294967295 (got -2)",
        "seeds = [1, 4294967296]": "seeds: must be from 0 to 4294967295 (got 4294967296)",
        "seeds = [1, 2, 1]": "seeds: must not repeat a seed (got 1)",
        'seeds = [1, 2, 3]\nvary = ["init", "split", "split"]': [
            'vary: must hold "order": it is always drawn anew (got ["init", "split", "split"])',
            'vary: must not repeat a purpose (got ["init", "split", "split"])',
        ],
        'seeds = [1]\nvary = ["init", "order", "split", "fold"]': [
            'vary: must not hold both "split" and "fold" (got ["init", "order", "split", "fold"])',
            'vary: "fold" needs at least two seeds, one a fold (got 1)',
        ],
        'seeds = [1, 2, 3]\nvary = ["init", "order", "weather"]': "vary[2]: must be one of 'init', 'order', 'split' or 'fold' (got \"weather\")",
    },
    'metrics = ["error_deg", "accuracy"]': {
        'metrics = ["error_dg", "accuracy"]': "metrics[0]: is not a metric of the catalogue (got \"error_dg\"); did you mean 'error_deg'?",
        'metrics = ["zzz"]': 'metrics[0]: is not a metric of the catalogue (got "zzz"); valid: accuracy, error_deg, error_mm',
        'metrics = ["accuracy", "accuracy"]': 'metrics: must not repeat a metric (got "accuracy")',
    },
    'catalogue = "design_toy:METRICS"': {
        'catalogue = "design_toy"': 'catalogue: must be an import path "module:attribute" (got "design_toy")',
        'catalogue = "design_toi:METRICS"': "catalogue: no module named 'design_toi' (got \"design_toi\"); did you mean 'design_toy'?",
        'catalogue = "design_toy:NOT_METRICS"': 'catalogue: must be a mapping from names to Metrics (got "design_toy:NOT_METRICS")',
        'catalogue = "design_toy:nothing"': 'catalogue: must be a mapping from names to Metrics (got "design_toy:nothing")',
    },
    "dropout = 0.1": {
        "dropout = nan": "settings.model.dropout: must be a finite number (got nan)",
        "dropout = 2024-01-01": "settings.model.dropout: cannot be a date or time; write it as text (got 2024-01-01)",
        "dropout = 123456789012345678901234567890": "settings.model.dropout: must fit in 64 bits (got 123456789012345678901234567890)",
        '"drop.out" = 0.1': 'settings: must not hold empty keys or keys with a dot: no dotted path could name them (got "drop.out")',
        'dropout = 0.1\n"" = 0.1': 'settings: must not hold empty keys or keys with a dot: no dotted path could name them (got "")',
    },
    "examples = 10": {
        "file = 3": "settings.data.file: must be a relative path under the data root (got 3)",
        'file = "/data/cmu.npz"': 'settings.data.file: must be a relative path under the data root (got "/data/cmu.npz"); name its folder with --data-root or ABLATE_DATA',
        "file = 'C:\\data\\cmu.npz'": 'settings.data.file: must be a relative path under the data root (got "C:\\\\data\\\\cmu.npz"); name its folder with --data-root or ABLATE_DATA',
        'file = "../cmu.npz"': 'settings.data.file: must be a relative path under the data root (got "../cmu.npz"); name its folder with --data-root or ABLATE_DATA',
    },
    '[settings.loss]\nfactory = "design_toy:loss"\n': {
        "[settings]\nloss = 3\n": "settings.loss: must be a table (got 3)",
        "": "settings.loss: is missing",
    },
    "[settings.loss]": {
        "[settings.los]": [
            "settings.loss: is missing",
            "settings.los: unknown section; did you mean 'loss'?",
        ],
    },
    'factory = "design_toy:loss"\n': {
        "": 'settings.loss.factory: is missing; must be an import path "module:attribute"',
    },
    'factory = "design_toy:loss"': {
        'factory = "design_toy"': 'settings.loss.factory: must be an import path "module:attribute" (got "design_toy")',
        "factory = 3": 'settings.loss.factory: must be an import path "module:attribute" (got 3)',
    },
    "epochs = 4": {
        "epochs = 4\nlearningrate = 1.0": "settings.training.learningrate: unknown key; did you mean 'learning_rate'?",
        "epochs = 0": "settings.training.epochs: must be at least 1 (got 0)",
    },
    "learning_rate = 0.001": {
        "learning_rate = 0": "settings.training.learning_rate: must be greater than 0 (got 0)",
    },
    'set."model.extra"': {
        'set."model.extr"': "arms.extra.set.\"model.extr\": no such setting; did you mean 'model.extra'?",
        'set."model.gamma"': 'arms.extra.set."model.gamma": no such setting; write gamma = … in [settings.model] first, with the baseline\'s value',
        'set."modle.extra"': "arms.extra.set.\"modle.extra\": no such setting; did you mean 'model.extra'?",
    },
    "[arms.wide]": {
        '[arms.wide]\nfamily = "plain"\nlevel = 2': [
            "arms.wide.family: is written by [factor] or [datasets] and cannot be set",
            "arms.wide.level: is written by [factor] or [datasets] and cannot be set",
        ],
        '[arms."very wide"]': 'arms."very wide": must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "very wide")',
        "[arms.Extra]": "arms.Extra: differs from arm 'extra' only in case, which some file systems ignore",
        "[arms.compare]": "arms.compare: is a reserved name; call the arm something else",
        "[arms.plain]": "line 35, column 12: is not valid TOML: cannot declare [arms.plain] twice",
    },
    'set."model.width" = 16': {
        "set.width = 16": "arms.wide.set.width: no such setting; did you mean 'model.width'?",
        'set."model.head.widht" = 16': "arms.wide.set.\"model.head.widht\": no such setting; did you mean 'model.head.width'?",
        "set.model.width = 16": 'arms.wide.set.model.factory: is missing from the section that replaces the study\'s; to change one setting write set."model.width" with the quotes',
        "set.training.epochs = 16": 'arms.wide.set.training: cannot replace the whole section; to change one setting write set."training.epochs" with the quotes',
        "set.model = 16": 'arms.wide.set.model: must be a table to replace a section; to change one setting write set."model.…" with the quotes',
        'set."training.epochs" = -1': 'arms.wide.set."training.epochs": must be at least 1 (got -1)',
        'set."model.extra" = true': "arms.wide: has the same settings as arm 'extra'; a deliberate twin has replicate = 1",
        'set."training.learning_rate" = 0.002': "arms.wide: differs from arm 'plain' only in settings that are tuned for both",
        'set.model = { factory = "design_toy:model", width = 16, optimizer = "adam" }': "tuning.space.\"model.momentum\": is not a setting of arm 'wide'; did you mean 'model.optimizer'?",
        'set."model.width" = 16\n[arms.wide.control]': "arms.wide.control: must not be empty",
        'set."model.width" = 16\ncontrol.shufle_input = ["hat"]': [
            "arms.wide.control.shufle_input: unknown key; did you mean 'shuffle_input'?",
            "arms.wide.control: must not be empty",
        ],
        'control.match_parameters = { off = "extra", by = "model.width" }': [
            "arms.wide.control.match_parameters.of: is missing",
            "arms.wide.control.match_parameters.off: unknown key; did you mean 'of'?",
        ],
        'like = "extr"': "arms.wide.like: is not an arm of this study (got extr); did you mean 'extra'?",
        'like = "wide"\nset."model.width" = 16': "arms.wide.like: must name another arm (got wide); valid: constant, extra, plain",
        'like = "extra"': "arms.wide: has the same settings as arm 'extra'; a deliberate twin has replicate = 1",
        'control.same_information = "extra"': "arms.wide: has the same settings as arm 'plain'; a deliberate twin has replicate = 1",
        'set."model.width" = 16\ncontrol.same_information = "nobody"': "arms.wide.control.same_information: is not an arm of this study (got nobody); valid: constant, extra, plain",
        'control.freeze = ["", "head", "head"]': [
            "arms.wide.control.freeze: must not repeat a name (got , head, head)",
            "arms.wide.control.freeze: must not hold an empty name",
        ],
        'control.shuffle_input = ["hat"]\ncontrol.drop_input = ["hat"]': "arms.wide.control.drop_input: must not drop an input that is shuffled (got hat)",
        'control.match_parameters = { of = "extr", by = "model.widht" }': [
            "arms.wide.control.match_parameters.of: is not an arm of this study (got extr); did you mean 'extra'?",
            "arms.wide.control.match_parameters.by: is not a setting of this arm (got model.widht); did you mean 'model.width'?",
        ],
        'control.match_parameters = { of = "extra", by = "model.extra" }': "arms.wide.control.match_parameters.by: must be a whole number in the model's settings (got model.extra); did you mean 'model.width'?",
        'control.match_parameters = { of = "extra", by = "data.examples" }': "arms.wide.control.match_parameters.by: must be a whole number in the model's settings (got data.examples); valid: model.head.depth, model.head.width, model.width",
    },
    "reference = true": {
        "reference = 1": "arms.constant.reference: must be true or false (got 1)",
        'reference = true\ncontrol.freeze = ["head"]\ncontrol.drop_input = ["hat"]': "arms.constant.control.freeze: must not be set on a reference, which is not trained: only its inputs can be shuffled or dropped",
    },
    '{ factory = "design_toy:strict_model", width = 1 }': {
        "{}": 'arms.constant.set.model.factory: is missing; must be an import path "module:attribute"',
        '{ factory = "strict_model" }': 'arms.constant.set.model.factory: must be an import path "module:attribute" (got "strict_model")',
    },
    "trials = 4": {
        "trials = 4\ntrails = 4": "tuning.trails: unknown key; did you mean 'trials'?",
        "trials = 4.5": "tuning.trials: must be a whole number (got 4.5)",
        "trials = true": "tuning.trials: must be a whole number (got true)",
        "trials = 0": "tuning.trials: must be at least 1 (got 0)",
        "trials = ": "line 43, column 10: is not valid TOML: invalid value",
        "trials = 4\ntrials = 5": "line 44, column 11: is not valid TOML: cannot overwrite a value",
    },
    "seeds = [101, 102]": {
        "seeds = [101, 101]": "tuning.seeds: must not repeat a seed (got 101)",
        "seeds = [3, 102, 1]": "tuning.seeds: must not overlap the comparison seeds (got [1, 3])",
    },
    'metric = "val/error_deg"': {
        'metric = "test/error_deg"': 'tuning.metric: must start with "val/": tuning sees validation data only (got "test/error_deg"); did you mean \'val/error_deg\'?',
        'metric = "error_deg"': 'tuning.metric: must start with "val/": tuning sees validation data only (got "error_deg"); did you mean \'val/error_deg\'?',
        'metric = "val/error_degs"': "tuning.metric: is not a metric of the catalogue (got \"error_degs\"); did you mean 'error_deg'?",
    },
    "epochs = 2\n": {
        'epochs = 2\nsampler = "grid"\n': "tuning.sampler: must be one of 'tpe', 'random' or 'qmc' (got \"grid\")",
    },
    "low = 1e-4": {
        "low = 1e-4\nlo = 1": "tuning.space.\"training.learning_rate\".lo: unknown key; did you mean 'low' or 'log'?",
        "low = 0": 'tuning.space."training.learning_rate".low: must be above 0 when log = true (got 0)',
    },
    "high = 1e-2": {
        "high = inf": 'tuning.space."training.learning_rate".high: must be a finite number (got inf)',
    },
    '[tuning.space."model.optimizer"]\ntype = "categorical"\nchoices = ["adam", "sgd"]\n': {
        '[tuning.space]\n"model.optimizer" = 3\n': 'tuning.space."model.optimizer": must be a table (got 3)',
    },
    'type = "categorical"\n': {
        "": 'tuning.space."model.optimizer".type: is missing; valid: categorical, float, int',
    },
    'type = "categorical"': {
        'type = "categoric"': "tuning.space.\"model.optimizer\".type: must be one of 'categorical', 'float', 'int' (got \"categoric\")",
    },
    'choices = ["adam", "sgd"]': {
        'choices = ["adam", ["sgd"]]': 'tuning.space."model.optimizer".choices[1]: must be text, a number, true or false (got ["sgd"])',
        "choices = []": 'tuning.space."model.optimizer".choices: must not be empty',
        'choices = ["adam", "sgd", "adam"]': 'tuning.space."model.optimizer".choices: must not repeat a value (got ["adam", "sgd", "adam"])',
        'choices = ["adam", "sgd"]\nwhen = { "model.momentum" = 0.5 }': "tuning.space: `when` must not form a cycle: model.optimizer → model.momentum → model.optimizer",
    },
    '[tuning.space."model.momentum"]': {
        '[tuning.space."model.momentun"]': "tuning.space.\"model.momentun\": is not a setting of any arm; did you mean 'model.momentum'?",
        '[tuning.space."model.head"]': "tuning.space.\"model.head\": is not a setting of any arm; did you mean 'model.head.width' or 'model.head.depth'?",
        "[tuning.space.model]": "tuning.space.model: is not a setting of any arm; did you mean 'model.width' or 'model.extra'?",
        '[tuning.space."data.examples"]': 'tuning.space."data.examples": data cannot be tuned: every arm is judged on the same examples',
    },
    '[tuning.space."model.momentum"]\ntype = "float"\nlow = 0.5\nhigh = 1.0': {
        '[tuning.space."training.epochs"]\ntype = "int"\nlow = 1\nhigh = 3': 'tuning.space."training.epochs": cannot be tuned while tuning.epochs fixes it',
        '[tuning.space."training.batch_size"]\ntype = "int"\nlow = 0\nhigh = 3': 'tuning.space."training.batch_size".low: is not a valid training.batch_size: must be at least 1 (got 0)',
        '[tuning.space."training.batch_size"]\ntype = "float"\nlow = 1.5\nhigh = 3': [
            'tuning.space."training.batch_size".low: is not a valid training.batch_size: must be a whole number (got 1.5)',
            'tuning.space."training.batch_size".high: is not a valid training.batch_size: must be a whole number (got 3.0)',
        ],
    },
    "low = 0.5\nhigh = 1.0": {
        "low = 1.5\nhigh = 1.0": 'tuning.space."model.momentum": low must be below high (got low 1.5, high 1)',
    },
    'when = { "model.optimizer" = "sgd" }': {
        'when = { "model.optimiser" = "sgd" }': 'tuning.space."model.momentum".when."model.optimiser": is not an entry of the tuning space; did you mean \'model.optimizer\'?',
        'when = { "model.optimizer" = "rmsprop" }': 'tuning.space."model.momentum".when."model.optimizer": is not a value of model.optimizer (got "rmsprop"); valid: "adam", "sgd"',
        'when = { "training.learning_rate" = 1.0 }': 'tuning.space."model.momentum".when."training.learning_rate": is not a value of training.learning_rate (got 1.0); valid: 0.0001 to 0.01',
        'when = { "model.momentum" = 0.5 }': "tuning.space: `when` must not form a cycle: model.momentum → model.momentum",
    },
    'arm = "extra"': {
        'arm = "extre"': "hypotheses[0].arm: is not an arm of this study (got \"extre\"); did you mean 'extra'?",
    },
    'against = "plain"\n': {
        "": "hypotheses[0].against: is missing",
    },
    'against = "plain"': {
        'against = "plane"': "hypotheses[0].against: is not an arm of this study (got \"plane\"); did you mean 'plain'?",
        'against = "extra"': 'hypotheses[0]: must compare two different arms (got "extra")',
    },
    'metric = "error_deg"\nmargin': {
        'metric = "error"\nmargin': "hypotheses[0].metric: is not a metric of the catalogue (got \"error\"); did you mean 'error_mm' or 'error_deg'?",
    },
    "margin = 0.5": {
        "margins = 0.5": "hypotheses[0].margins: unknown key; did you mean 'margin'?",
        'margin = "a lot"': 'hypotheses[0].margin: must be a number (got "a lot")',
        "margin = -0.5": "hypotheses[0].margin: must be at least 0 (got -0.5)",
        'kind = "equivalent"\nmargin = 0': "hypotheses[0].margin: must be above 0 for the kind equivalent: no experiment shows a difference of exactly 0 (got 0)",
        'kind = "not_worse"': "hypotheses[0].margin: must be above 0 for the kind not_worse: no experiment shows a difference of exactly 0 (got 0)",
        'kind = "equal"': "hypotheses[0].kind: must be one of 'better', 'not_worse' or 'equivalent' (got \"equal\")",
    },
    "[report]": {
        '[report.colors]\nwide = "red"\n[report]': "report.colors.wide: must be one of 'blue', 'vermilion', 'green', 'purple', 'orange', 'sky' or 'black' (got \"red\")",
        '[report.colors]\nwid = "blue"\nwide = "blue"\n[report]': [
            "report.colors.wid: must name an arm (got wid); did you mean 'wide'?",
            'report.colors.wide: is the color of wid already (got "blue")',
        ],
        '[[hypotheses]]\narm = "extra"\nagainst = "plain"\nmetric = "error_deg"\nmargin = 0.5\n[report]': "hypotheses[1]: must not repeat a hypothesis",
    },
    "gallery =": {
        "galery =": "report.galery: unknown key; did you mean 'gallery'?",
    },
    'gallery = "design_toy:model"': {
        'gallery = "design_toy.model"': 'report.gallery: must be an import path "module:attribute" (got "design_toy.model")',
        'gallery = """x': "last line: is not valid TOML: unterminated string",
    },
    '[report.conditions.angle_deg]\nlabel = "Angle (°)"\nperiod = 360\nmetrics = ["error_deg"]\n': {
        'conditions = "angle_deg"\n': 'report.conditions: must be a table (got "angle_deg")',
    },
    "[report.conditions.angle_deg]": {
        "[report.conditions.clip.groups]\nwalk = [1, 2]\ndance = [2]\nrest = []\n[report.conditions.angle_deg]": [
            'report.conditions.clip.groups.dance: shares a value with walk (got "2")',
            "report.conditions.clip.groups.rest: must list values",
        ],
    },
    "period = 360": {
        "periods = 360": "report.conditions.angle_deg.periods: unknown key; did you mean 'period'?",
    },
    'metrics = ["error_deg"]\n': {
        'metrics = ["accuracies"]\n': "report.conditions.angle_deg.metrics[0]: is not a metric of the catalogue (got \"accuracies\"); did you mean 'accuracy'?",
    },
}
# name: (edits of the valid study, the problem)
UNTUNED_MODEL = [  # the study tunes the learning rate alone
    ('[tuning.space."model.optimizer"]\ntype = "categorical"\nchoices = ["adam", "sgd"]\n', ""),
    (
        '[tuning.space."model.momentum"]\ntype = "float"\nlow = 0.5\nhigh = 1.0\nwhen = { "model.optimizer" = "sgd" }\n',
        "",
    ),
]
CASES_OF_SEVERAL_EDITS: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "shuffled in batches of one": (
        [
            ('set."model.width" = 16', 'set."model.width" = 16\ncontrol.shuffle_input = ["hat"]'),
            ("epochs = 4", "epochs = 4\nbatch_size = 1"),
        ],
        ["arms.wide.control.shuffle_input: needs at least two examples in a batch (got training.batch_size = 1)"],
    ),
    "like an arm that has a like": (
        [
            ('set."model.width" = 16', 'like = "extra"\nset."model.width" = 16'),
            ("[arms.constant]", '[arms.chained]\nlike = "wide"\n[arms.constant]'),
        ],
        ["arms.chained.like: must not name an arm that is itself like another (extra) (got wide)"],
    ),
    "a setting that the arm in like lacks": (
        [
            ('set."model.width" = 16', 'like = "bare"\nset."model.width" = 16'),
            (
                "[arms.constant]",
                '[arms.bare]\nset.model = { factory = "design_toy:model", depth = 1, optimizer = "adam", momentum = 0.6 }\n[arms.constant]',
            ),
        ],
        ["arms.wide.set.\"model.width\": no such setting; did you mean 'model.depth'?"],
    ),
    "two arms with the same control": (
        [
            ('set."model.width" = 16', 'control.drop_input = ["hat", "coat"]'),
            ("[arms.constant]", '[arms.again]\ncontrol.drop_input = ["coat", "hat"]\n[arms.constant]'),
        ],
        ["arms.again: has the same settings as arm 'wide'; a deliberate twin has replicate = 1"],
    ),
    "a match with one that is matched": (
        [
            ('set."model.width" = 16', 'control.match_parameters = { of = "extra", by = "model.width" }'),
            (
                "[arms.constant]",
                '[arms.more]\ncontrol.match_parameters = { of = "wide", by = "model.width" }\n[arms.constant]',
            ),
        ],
        ["arms.more.control.match_parameters.of: must not name an arm that is itself matched (got wide)"],
    ),
    "compute matched while the model is tuned": (
        [('set."model.width" = 16', 'control.match_compute = { of = "extra", by = "training.epochs" }')],
        [
            "arms.wide.control.match_compute: needs networks of one size: settings of the model are tuned (got model.optimizer, model.momentum); tune settings of the training alone"
        ],
    ),
    "compute matched by what is no number": (
        [
            ('set."model.width" = 16', 'control.match_compute = { of = "extra", by = "training.precision" }'),
            *UNTUNED_MODEL,
        ],
        [
            "arms.wide.control.match_compute.by: must be a whole number in the model's settings (got training.precision); valid: model.head.depth, model.head.width, model.width"
        ],
    ),
    "compute of an arm that trains longer": (
        [
            ('set."model.width" = 16', 'control.match_compute = { of = "extra", by = "model.width" }'),
            ('set."model.extra" = true', 'set."model.extra" = true\nset."training.epochs" = 8'),
            *UNTUNED_MODEL,
        ],
        [
            "arms.wide.control.match_compute: needs the training.epochs of arm 'extra': what is matched is FLOPs × epochs on the same examples (got 4, not 8)"
        ],
    ),
    "compute of a reference": (
        [('set."model.width" = 16', 'control.match_compute = { of = "constant", by = "model.width" }'), *UNTUNED_MODEL],
        ["arms.wide.control.match_compute.of: must not name a reference, which is not trained (got constant)"],
    ),
    "parameters and compute at once": (
        [
            (
                'set."model.width" = 16',
                'control.match_compute = { of = "extra", by = "training.epochs" }\ncontrol.match_parameters = { of = "extra", by = "model.width" }',
            ),
            *UNTUNED_MODEL,
        ],
        ["arms.wide.control: must not match both parameters and compute (got match_parameters, match_compute)"],
    ),
    "a match by a tuned setting": (
        [
            ('set."model.width" = 16', 'control.match_parameters = { of = "extra", by = "model.width" }'),
            (
                '[tuning.space."model.optimizer"]',
                '[tuning.space."model.width"]\ntype = "int"\nlow = 1\nhigh = 9\n[tuning.space."model.optimizer"]',
            ),
        ],
        ["arms.wide.control.match_parameters.by: must not be a setting that is tuned (got model.width)"],
    ),
}


def problems(*edits: tuple[str, str]) -> list[str]:
    return [line.removeprefix("study.toml: ") for line in problems_of(*edits)]


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, news in CASES.items() for new in news])
def test_one_edit(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = CASES[old][new]
    assert problems((old, new)) == ([expected] if isinstance(expected, str) else expected)


@pytest.mark.parametrize("name", CASES_OF_SEVERAL_EDITS)
def test_several_edits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edits, expected = CASES_OF_SEVERAL_EDITS[name]
    assert problems(*edits) == expected
