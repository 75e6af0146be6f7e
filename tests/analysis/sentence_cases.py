"""Studies with known results, one for every thing that a report, a comparison or a judgement can say.

`said(name, folder)` is all that the formats say of the study of that name: nothing is trained, nothing is drawn.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import toy_script
from rich.console import Console
from test_across import everywhere, stored_results
from test_across import jitter as of_seed
from test_across import results as dataset_results
from test_design_effects import marginal, of_six, synergy
from test_design_effects import results as design_results
from test_same_question import ARMS as DECAYED
from test_same_question import scores as asked_scores
from test_stopping import LOOKS, gained
from test_stopping import results as look_results
from toy_results import ARMS, Toy
from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis import results as tables
from ablate.analysis import stopping
from ablate.analysis.compare import arm_comparisons
from ablate.analysis.fraction import fraction_words
from ablate.analysis.power_plan import power_plan
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import analyse
from ablate.commands.judge import judge_file
from ablate.planning.plan import compare_spec
from ablate.planning.trials import trial_specs
from ablate.report import figures, terminal, terminal_compare
from ablate.report.blocks import (
    Badge,
    Block,
    Bullets,
    Code,
    Heading,
    Link,
    Listing,
    Paragraph,
    Picture,
    Span,
    Strong,
    Table,
)
from ablate.report.outline import outline
from ablate.report.tables import Cell, TextTable
from ablate.study import Metric, Record, RunResult, Study
from ablate.study.amend import ADDED, WITHDRAWN
from ablate.study.datasets import expand_datasets
from ablate.study.design import expand_design
from ablate.study.runs import PRUNED
from ablate.tracking.memory import MemoryTracker

Build = Callable[[Path], Results]
WIDE = 100_000  # columns: no line breaks, so that a sentence is found whole
HYBRID_SEEDS = 5
EVERY_PICTURE = figures.Pictures(
    [
        *("matrix", "differences", "cost", "learning_curves", "tuning", "importances", "gallery", "by_azimuth_deg"),
        *("density_azimuth_deg", f"factor_{AZIMUTH}", "design_loss"),
    ]
)


def said(name: str, folder: Path) -> str:
    """Everything that is said of the case: its report, the terminal's summary and every comparison of two arms."""
    case = CASES[name]
    made = case(folder / name.replace(" ", "-"))
    return made if isinstance(made, str) else of_results(made)


def of_results(results: Results, pictures: figures.Pictures = EVERY_PICTURE) -> str:
    analysis = analyse(results)
    texts = [text for block in outline(analysis, results, pictures) for text in of_block(block)]
    console = Console(file=io.StringIO(), width=WIDE, color_system=None)
    terminal.print_results(results, console)
    pairs = dict.fromkeys((c.arm, c.against) for c in analysis.comparisons)
    for pair in list(pairs)[:4]:
        compared = arm_comparisons(results, *pair, list(results.study.metrics))
        terminal_compare.print_comparisons(results.study.name, compared, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join([*texts, console.file.getvalue()])


def of_block(block: Block) -> list[str]:
    """The words of a block, without markup."""
    match block:
        case Heading(text, _) | Listing(text):
            return [text]
        case Paragraph(spans):
            return [of_spans(spans)]
        case Bullets(items):
            return [of_spans(spans) for spans in items]
        case Table():
            rows = [" | ".join(cell.text for cell in row) for row in block.table.rows]
            return [block.caption, " | ".join(block.table.header), *rows]
        case Picture():
            return [block.caption]


def of_spans(spans: Sequence[Span]) -> str:
    return "".join(
        s if isinstance(s, str) else s.text for s in spans if isinstance(s, str | Strong | Badge | Code | Link)
    )


# --- two arms -------------------------------------------------------------------------------------------------------


def two(hybrid: float = 6.5, seeds: int = HYBRID_SEEDS, **more: Any) -> Build:
    scores = {"existing": around(7.0, seeds=seeds), "hybrid": around(hybrid, 1, seeds=seeds)}
    return lambda folder: load(scores, **more)


def differing(*gaps: float, **more: Any) -> Build:
    """By seed, hybrid minus existing."""
    scores = {
        "existing": {seed: 7.0 + seed / 10 for seed, _ in enumerate(gaps, 1)},
        "hybrid": {seed: 7.0 + seed / 10 + gap for seed, gap in enumerate(gaps, 1)},
    }
    return lambda folder: load(scores, **more)


def claim(kind: str, margin: float) -> list[dict[str, Any]]:
    return [asked(margin) | {"kind": kind}]


def amended(*amendments: str, hypotheses: Sequence[Mapping[str, Any]] = ()) -> Build:
    def build(folder: Path) -> Results:
        results = two(6.9, hypotheses=list(hypotheses or [asked()]))(folder)
        what = [{"date": "2026-01-01", "what": text} for text in amendments]
        return replace(results, document={**results.document, "amendments": what})

    return build


def two_metrics(azimuth: float, accuracy: float, **more: Any) -> Build:
    other = {"test/accuracy": {"existing": around(60.0), "hybrid": around(accuracy, 2)}}
    return two(azimuth, other=other, metrics=[AZIMUTH, "accuracy"], **more)


def borderline(folder: Path) -> Results:
    """Three hypotheses: Holm supports the weakest, its simultaneous interval does not."""
    near, sure = (-1.2, -0.2, -0.9, -1.1, -0.3), (-1.2, -1.0, -0.9, -1.1, -0.8)
    base = dict.fromkeys(range(1, 6), 7.0)
    arms = {"near": near, "sure": sure, "surer": tuple(2 * gap for gap in sure)}
    scores = {"existing": base} | {n: {s: 7.0 + g for s, g in enumerate(gaps, 1)} for n, gaps in arms.items()}
    return load(scores, hypotheses=[asked(arm=arm) for arm in arms])


# --- controls -------------------------------------------------------------------------------------------------------

CONTROLS: Mapping[str, dict[str, Any]] = {
    "wide": {"control": {"match_parameters": {"of": "hybrid", "by": "model.width"}}},
    "longer": {"control": {"match_compute": {"of": "hybrid", "by": "training.epochs"}}},
    "shuffled": {"like": "hybrid", "control": {"shuffle_input": ["pose_2d"]}},
    "dropped": {"like": "hybrid", "control": {"drop_input": ["pose_2d"]}},
    "joints": {"like": "hybrid", "control": {"drop_joints": ["nose"]}},
    "frozen": {"like": "hybrid", "control": {"freeze": ["head"]}},
    "informed": {"control": {"same_information": "hybrid"}},
    "mixed": {"like": "hybrid", "control": {"shuffle_input": ["pose_2d"], "freeze": ["head"]}},
    "matched of the baseline": {"control": {"match_parameters": {"of": "existing", "by": "model.width"}}},
    "as long as the baseline": {"control": {"match_compute": {"of": "existing", "by": "training.epochs"}}},
    "informed as the baseline": {"control": {"same_information": "existing"}},
    "shuffled of the baseline": {"control": {"shuffle_input": ["pose_2d"]}},
    "dropped of the baseline": {"control": {"drop_input": ["pose_2d"]}},
    "frozen of the baseline": {"control": {"freeze": ["head"]}},
    "wide and shuffled": {
        "control": {"match_parameters": {"of": "hybrid", "by": "model.width"}, "shuffle_input": ["pose_2d"]}
    },
    "longer and shuffled": {
        "control": {"match_compute": {"of": "hybrid", "by": "training.epochs"}, "shuffle_input": ["pose_2d"]}
    },
    "informed and shuffled": {"control": {"same_information": "hybrid", "shuffle_input": ["pose_2d"]}},
}
# Of the controlled arm against the control: its score, and the margin of the study's hypothesis.
OUTCOMES: Mapping[str, tuple[float, float]] = {
    "better": (7.0, 0.0),
    "equal": (6.5, 0.3),
    "open": (6.5, 0.0),
    "worse": (6.2, 0.0),
}


def control(
    kind: str, score: float, margin: float = 0.0, hybrid: float = 6.5, name: str = "control", **more: Any
) -> Build:
    """One whose `name` begins with existing has fewer parameters than the hybrid."""
    of_baseline = kind.endswith("baseline")
    shifted = score + 0.5 if of_baseline else score
    scores = {"existing": around(7.0), "hybrid": around(hybrid, 1), name: around(shifted, 2)}
    arms = {name: {"label": "Control", **CONTROLS[kind]}}
    claims = []
    if margin:
        claims = [asked(margin), asked(margin, "existing", name)] if of_baseline else [asked(margin)]
    return lambda folder: load(scores, arms=arms, hypotheses=claims, **more)


def together(margin: float = 0.0, hybrid: float = 6.5, drop: bool = False, **levels: float | None) -> Build:
    """The gain of the hybrid beside all its controls; a level None: no run of that control."""
    kinds = {"wide": "wide", "shuffled": "dropped" if drop else "shuffled", "informed": "informed"}
    scores = {"existing": around(7.0), "hybrid": around(hybrid, 1)}
    for shift, (name, level) in enumerate(levels.items(), 2):
        scores[name] = {} if level is None else around(level, shift)
    arms = {name: CONTROLS[kinds[name]] for name in levels}
    return lambda folder: load(scores, arms=arms, hypotheses=[asked(margin)] if margin else [])


# --- factor, yardsticks, people, clusters ---------------------------------------------------------------------------


def along(*pairs: tuple[float, float], margin: float = 0.0, seeds: int = 5, missing: bool = False) -> Build:
    """A factor with a level for each pair of scores: existing, hybrid."""
    scores: dict[str, dict[int, float]] = {}
    arms: dict[str, dict[str, Any]] = {}
    for shift, (level, values) in enumerate(zip((0.5, 1.0, 2.0), pairs, strict=False)):
        for family, value in zip(("existing", "hybrid"), values, strict=True):
            name = f"{family}@{level}"
            gone = missing and family == "hybrid" and level == 1.0
            scores[name] = {} if gone else around(value, shift + (family == "hybrid"), seeds)
            arms[name] = {"label": f"{family} @ {level}", "family": family, "level": level}
    factor = {"setting": "data.noise", "levels": [0.5, 1.0, 2.0][: len(pairs)], "label": "Detector noise"}
    claims = [asked(margin, f"hybrid@{level}", f"existing@{level}") for level in factor["levels"]] if margin else []
    return lambda folder: load(scores, arms=arms, factor=factor, hypotheses=claims)


def lonely_factor(folder: Path) -> Results:
    scores = {"existing@0.5": around(7.0), "existing@1.0": around(7.0, 1)}
    arms = {f"existing@{level}": {"label": "Existing", "family": "existing", "level": level} for level in (0.5, 1.0)}
    return load(scores, arms=arms, factor={"setting": "data.noise", "levels": [0.5, 1.0]})


def beside(reference: float, *, truth: bool = False, seeds: int = 5, margin: float = 0.0) -> Build:
    scores = {
        "existing": around(7.0, seeds=seeds),
        "hybrid": around(6.5, 1, seeds),
        "ridge": around(reference, 2, seeds),
    }
    arms = {"ridge": {"label": "Ridge", "reference": True, "knows_truth": truth}}
    claims = [asked(margin, "hybrid", "ridge")] if margin else []
    return lambda folder: load(scores, arms=arms, hypotheses=claims)


def clusters_and_a_control(folder: Path) -> Results:
    frames, scores = {}, {}
    for shift, (arm, level) in enumerate({"existing": 7.0, "hybrid": 6.5, "control": 6.9}.items()):
        frames[arm] = person_rows({p: [level + p + 0.02 * shift * p] for p in range(5)})
        scores[arm] = around(level + 2 + 0.04 * shift, shift)
    arms = {"control": {"label": "Control", **CONTROLS["wide"]}}
    return load(scores, arms=arms, frames=frames, folder=folder, cluster="subject", hypotheses=[asked()])


def person_rows(values: Mapping[int, Sequence[float]], name: str = AZIMUTH) -> pd.DataFrame:
    rows = [(person, value) for person, of_person in values.items() for value in of_person]
    return pd.DataFrame(rows, columns=["subject", name])


def people(count: int, *, each: int = 2, larger_first: bool = False, gap: float = -0.5, **more: Any) -> Build:
    """A difference for every person; with `larger_first` the first has more examples and a larger difference."""
    sizes = [8 * each if larger_first and p == 0 else each for p in range(count)]
    gaps = [gap * (3 if larger_first and p == 0 else 1 + p / 10) for p in range(count)]
    existing = {p: [7.0 + p] * size for p, size in enumerate(sizes)}
    hybrid = {p: [7.0 + p + gaps[p]] * size for p, size in enumerate(sizes)}
    frames = {"existing": person_rows(existing), "hybrid": person_rows(hybrid)}
    mean = {a: sum(map(sum, f.values())) / sum(sizes) for a, f in (("existing", existing), ("hybrid", hybrid))}
    scores = {"existing": around(mean["existing"]), "hybrid": around(mean["hybrid"], 1)}
    return lambda folder: load(scores, frames=frames, folder=folder, **more)


def typed(command: str) -> Build:
    """A study that was run by this command."""

    def build(folder: Path) -> Results:
        results = load({"existing": around(7.0), "hybrid": around(6.5, 1)}, folder=folder)
        return replace(results, document={**results.document, "command": command})

    return build


def people_and_seeds(folder: Path) -> Results:
    """Five people and five seeds whose differences vary: neither alone leaves it open, both together do."""
    offsets = {seed: -1.0 + 37 * gap for seed, gap in around(0.0).items()}
    frames: dict[Any, pd.DataFrame] = {"existing": person_rows({p: [7.0 + p] * 2 for p in range(5)})}
    for seed, gap in offsets.items():
        frames["hybrid", seed] = person_rows({p: [7.0 + p + gap * (0.3 + 0.35 * p)] * 2 for p in range(5)})
    scores = {
        "existing": dict.fromkeys(offsets, 9.0),
        "hybrid": {seed: 9.0 + gap for seed, gap in offsets.items()},
    }
    return load(scores, frames=frames, folder=folder, cluster="subject", hypotheses=[asked()])


def examples(existing: pd.DataFrame | None, hybrid: pd.DataFrame | None = None, **more: Any) -> Build:
    """Runs that kept these test examples."""
    frames = {} if existing is None else {"existing": existing, "hybrid": existing if hybrid is None else hybrid}
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
    return lambda folder: load(scores, frames=frames, folder=folder, hypotheses=[asked()], **more)


# --- tuning, trainers, stores ---------------------------------------------------------------------------------------

SPACE = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 3e-3, "log": True}}


def toy(**more: Any) -> Build:
    return lambda folder: tables.load(Toy(folder, **{"gallery": None, **more}).store(), "toy")


LEVELS = {"existing": 7.0, "hybrid": 6.5, "informed": 6.8}


def tuned(
    rates: Mapping[str, Sequence[float | None]],
    per: str = "arm",
    space: Any = SPACE,
    pruner: Mapping[str, Any] | None = None,
    pruned: str = "",
    **arms: Any,
) -> Build:
    """Trials of these learning rates by arm, the last the best; None: a trial that failed. Then every run.

    `pruned` names an arm whose first trial was ended early.

    With per = "seed", one tuning for each seed. An arm without rates is not tuned yet, and has not run.
    """

    def build(folder: Path) -> Results:
        tuning: dict[str, Any] = {"trials": 2, "metric": "val/azimuth_mae_deg", "space": space, "per": per}
        if pruner:
            tuning["pruner"] = pruner
        if per == "arm":
            tuning["seeds"] = [101]
        seeds, store = list(range(1, 6)), MemoryTracker()
        names = {key: {} for key in ("existing", "hybrid", *arms)}
        study = load(names, arms=arms, store=store, tuning=tuning, hypotheses=[asked()], seeds=seeds).study
        for shift, (arm, of_arm) in enumerate(rates.items()):
            for trial, rate in enumerate(of_arm):
                chosen = {"training.learning_rate": rate or 1e-3}
                for seed in seeds if per == "seed" else [None]:
                    for spec in trial_specs(study, arm, trial, chosen, "d", seed):
                        scored = {"val/azimuth_mae_deg": 7.0 - trial, "count/epochs": 1.0, "count/examples": 10.0}
                        early = {PRUNED: "after epoch 1"} if arm == pruned and trial == 0 else {}
                        done = RunResult(spec.key, "FINISHED", scored, (), {"time/train_s": 1.0}, early)
                        store.finish(store.start(spec), spec, RunResult(spec.key, "FAILED") if rate is None else done)
            best = [rate for rate in of_arm if rate is not None][-1]
            for seed, score in around(LEVELS[arm], shift).items():
                spec = compare_spec(study, arm, seed, {"training.learning_rate": best}, "d")
                scores = {f"test/{AZIMUTH}": score, "cost/parameters": 2e6}
                store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", scores))
        return tables.load(store, "toy")

    return build


def code(*digests: str) -> Build:
    def build(folder: Path) -> Results:
        results = two(provenance={"source_digest": digests[0]})(folder)
        for seed in range(1, 6):
            results.provenance["hybrid", seed]["source_digest"] = digests[-1]  # type: ignore[index]
        return results

    return build


def same_data(folder: Path) -> Results:
    store, scores = MemoryTracker(), {"existing": around(7.0), "hybrid": around(6.5, 1)}
    found = load(scores, store=store, data_digest="d1")
    load(scores, store=store, data_digest="d1", name="earlier")
    return replace(found, reader=store)


def with_status(arm: str, status: str, seeds: Sequence[int], hybrid: float = 6.5, **more: Any) -> Build:
    """The runs of these seeds failed; their scores are gone."""

    def build(folder: Path) -> Results:
        results = two(hybrid, seeds=7, **more)(folder)
        runs, scores = results.runs.copy(), results.scores
        runs.loc[(runs.arm == arm) & runs.seed.isin(seeds), "status"] = status
        kept = scores[~((scores.arm == arm) & scores.seed.isin(seeds))]
        return replace(results, runs=runs, scores=kept)

    return build


def with_failures_of_both(folder: Path) -> Results:
    """Of six seeds three failed for each arm, so that as many are won as lost."""
    scores = {"existing": dict.fromkeys(range(4, 7), 7.0), "hybrid": dict.fromkeys(range(1, 4), 6.5)}
    results = load(scores, seeds=list(range(1, 7)))
    runs = results.runs.copy()
    runs.loc[runs.status == "missing", "status"] = "failed"
    return replace(results, runs=runs)


def reduced(build: Build, how: Any) -> Build:
    """With the metric reduced over examples in this way."""

    def made(folder: Path) -> Results:
        results = build(folder)
        info = replace(results.metrics[AZIMUTH], reduction=how)
        return replace(results, metrics={**results.metrics, AZIMUTH: info})

    return made


def few_examples(folder: Path) -> Results:
    """Ten examples, in bins of a condition, and a density with predictions far off."""
    frame = pd.DataFrame({AZIMUTH: [0.01 * i for i in range(9)] + [5.0], "lean": [0.1 * i for i in range(10)]})
    report = {"conditions": {"lean": {"bins": 2}}, "densities": {"lean": {"error": AZIMUTH}}}
    scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
    return load(scores, frames={"existing": frame, "hybrid": frame}, folder=folder, report=report)


def flat_clusters(folder: Path) -> Results:
    frames = {arm: person_rows({p: [score] for p in range(5)}) for arm, score in (("existing", 7.0), ("hybrid", 6.5))}
    scores = {"existing": dict.fromkeys(range(1, 6), 7.0), "hybrid": dict.fromkeys(range(1, 6), 6.5)}
    return load(scores, frames=frames, folder=folder, cluster="subject")


def examples_vary(folder: Path) -> Results:
    """Single examples vary more than people do."""
    frames = {}
    for seed in range(1, 6):
        spread = [(-1) ** i * (1 + i % 3) for i in range(10)]
        frames["existing", seed] = person_rows({p: [7.0] * 10 for p in range(4)})
        frames["hybrid", seed] = person_rows({p: [6.5 + 0.001 * p * seed + x for x in spread] for p in range(4)})
    scores = {"existing": dict.fromkeys(range(1, 6), 7.0), "hybrid": around(6.5, 1)}
    return load(scores, frames=frames, folder=folder, cluster="subject")


def first(seeds: int, build: Build) -> Build:
    """The same study with its first seeds alone."""
    return lambda folder: build(folder).first(seeds)


def printed_external(folder: Path, runs: int = 5) -> str:
    """What `ablate evaluate` prints, and a table that is too wide for its terminal."""
    results = external(100, 90, runs=runs)(folder)
    out = Console(file=io.StringIO(), width=60, color_system=None)
    wide = TextTable(("Arm", *(f"Metric {i}" for i in range(9))), ((Cell("Hybrid"), *[Cell("123.45 ± 6.78")] * 9),))
    terminal.print_table(out, wide, title="narrow")
    assert isinstance(out.file, io.StringIO)
    with contextlib.redirect_stdout(io.StringIO()) as told:
        terminal.print_external(results, "street")
    return " ".join(f"{out.file.getvalue()} {told.getvalue()}".split())


def redrawn(build: Build, vary: str = "split") -> Build:
    """Every seed redraws the split, or is a fold."""

    def made(folder: Path) -> Results:
        results = build(folder)
        return replace(results, overlap=0.25, study=results.study.model_copy(update={"vary": [vary]}))

    return made


def external(*counts: int, runs: int = 5, of_hybrid: int | None = None, unscored: bool = False) -> Build:
    """Scores on other data; `counts`: the examples of existing's and of hybrid's runs."""
    sizes = dict(zip(("existing", "hybrid"), counts, strict=True))
    seeds = {"existing": range(1, runs + 1), "hybrid": range(1, (runs if of_hybrid is None else of_hybrid) + 1)}
    if unscored:
        seeds["hybrid"] = range(0)
    other = {f"external/street/{AZIMUTH}": {arm: {s: 9.0 + s / 10 for s in seeds[arm]} for arm in sizes}}
    other["external/street/examples"] = {arm: dict.fromkeys(seeds[arm], size) for arm, size in sizes.items()}
    return two(other=other)


def adopted(*notes: str, hypotheses: Sequence[Mapping[str, Any]] = ()) -> Build:
    def build(folder: Path) -> Results:
        scores = {"existing": around(7.0), "hybrid": around(6.5, 1)}
        settings = {"run": {"adopted": "table.csv"}}
        results = load(scores, settings=settings, hypotheses=list(hypotheses))
        document = {**results.document, "adopted": {"from": "table.csv", "notes": list(notes)}}
        return replace(results, document=document)

    return build


def command(run: Mapping[str, Any] | None = None, **more: Any) -> Build:
    recorded, curve = more.pop("recorded", None), more.pop("curve", ())
    return lambda folder: toy_script.load(toy_script.written(run, **more), recorded, curve=curve)


def outdated_run(folder: Path) -> Results:
    store, scores = MemoryTracker(), {"existing": around(7.0), "hybrid": around(6.5, 1)}
    load(scores, store=store, data_digest="old")
    return load(scores, store=store)


def mixed(folder: Path) -> Results:
    results = two(provenance={"commit": "a"})(folder)
    results.provenance["hybrid", 2]["commit"] = "b"  # type: ignore[index]
    return results


def interacting(alone: float, with_it: float, other: float) -> Callable[[Sequence[str], int], float]:
    """A loss that the part a lowers by `alone`, and by `with_it` more beside b; b lowers it by `other`."""

    def score(parts: Sequence[str], seed: int) -> float:
        noise = 0.02 * (-1) ** (seed + len(parts)) * (1 + ("a" in parts)) * seed
        both = with_it if {"a", "b"} <= set(parts) else 0.0
        return 10.0 + seed - alone * ("a" in parts) - other * ("b" in parts) - both + noise

    return score


def gallery(name: str, build: Callable[[Any], Build] = lambda name: toy(gallery=name)) -> Callable[[Path], str]:
    """What the page says in place of a gallery that cannot be drawn."""

    def said_of(folder: Path) -> str:
        results = build(name)(folder)
        note = figures.draw_gallery(analyse(results), results)[1]
        return of_results(results, figures.Pictures(note=note))

    return said_of


# --- designs, data sets, looks, other studies ----------------------------------------------------------------------


def fraction(arms: int) -> Build:
    """Six parts, of which a and b do more together."""

    def score(parts: Sequence[str], seed: int) -> float:
        return of_six(parts, seed) + 0.2 * of_seed(seed) * ({"a", "b"} <= set(parts))

    return lambda folder: design_results("factorial", score, "abcdef", arms=arms)


def several(**more: Any) -> Study:
    raw = {
        "name": "several", "question": "Which part helps?", "seeds": list(range(1, 7)),
        "settings": {"run": {"command": ["x", "{out}"], "data": "", "p": False, "q": False}},
        "metric": {"loss": {"direction": "lower"}},
        "datasets": {d: {"set": {"run.data": d}} for d in "ab"},
    }  # fmt: skip
    return expand_datasets(expand_design(Study.model_validate(raw | more)))


def design_on_data_sets(folder: Path) -> Results:
    study = several(add_one_in={"parts": {part: {"set": {f"run.{part}": True}} for part in "pq"}})
    return stored_results(study, lambda arm, seed: 10.0 - (2 + of_seed(seed)) * ("p" in (arm.parts or ())))


def baseline_on_data_sets(folder: Path) -> Results:
    return stored_results(several(baseline="plain", arms={"plain": {"label": "Plain"}}), lambda arm, seed: 10.0 + seed)


def at_once(data: str, seed: int) -> float:
    """Better by as much on every data set and with every seed, but for what differs from one run to the next."""
    place = "abcd".index(data)
    return 1.0 + 0.1 * ((seed * seed + 2 * place * seed + place) % 5)


def partly(data: str, seed: int) -> float:
    """Better on the first data set alone."""
    return (2.0 if data == "a" else 0.0) + of_seed(seed) * (1 + "ab".index(data))


def answer_of(build: Build) -> Callable[[Path], str]:
    """The answer alone, without captions and tables."""
    return lambda folder: "\n".join(analyse(build(folder)).answers)


def looked(seeds: int, gain: float = 1.0) -> Build:
    """The report of a study with planned looks at 5, 8 and 12 seeds, of which so many have finished."""
    return lambda folder: stopping.now(look_results(seeds, asked(), hybrid=gained(gain)))


def progress(build: Build) -> Callable[[Path], str]:
    """What is said of the looks that were taken."""

    def said_of(folder: Path) -> str:
        state = stopping.progress(build(folder))
        return "" if state is None else "\n".join(state.lines())

    return said_of


def asked_before(first: int, last: int, stopped: bool = False, again: bool = False) -> Build:
    """Seeds 1 to 6, in a store with another study that asked the same of other seeds, or with two."""

    def build(folder: Path) -> Results:
        store, more = MemoryTracker(), {"stopping": LOOKS, "seeds": list(range(first, first + 12))}
        earlier = {"hypotheses": [asked(0.2)], **more} if stopped else {}
        load(asked_scores(first, last), store=store, name="earlier", arms=DECAYED, **earlier)
        if again:
            load(asked_scores(first, last), store=store, name="earlier-too", arms=DECAYED)
        return load(asked_scores(1, 6), store=store, arms=DECAYED, hypotheses=[asked(0.2)])

    return build


# --- judge and plan -------------------------------------------------------------------------------------------------


def judged(*gaps: float, margin: float = 0.0) -> Callable[[Path], str]:
    def build(folder: Path) -> str:
        folder.mkdir(parents=True)
        rows = [(arm, seed, 1.0 + seed + (gap if arm == "B" else 0)) for seed, gap in enumerate(gaps) for arm in "AB"]
        pd.DataFrame(rows, columns=["arm", "seed", "score"]).to_csv(folder / "t.csv", index=False)
        judgement = judge_file(
            folder / "t.csv", arm="B", against="A", metric="score", direction="higher", margin=margin
        )
        return "\n".join(judgement.lines())

    return build


def planned(
    *gaps: float,
    seeds: int = 5,
    difference: float | None = None,
    claims: int = 1,
    overlap: bool = False,
    kind: str = "better",
    cluster: str = "",
) -> Callable[[Path], str]:
    """What `ablate plan` says; `gaps`: of the pairs that have finished."""

    def build(folder: Path) -> str:
        scores = {a: dict.fromkeys(range(1, seeds + 1), 7.0) for a in ("existing", "hybrid")}
        hypotheses = [asked(0.1 * (i + (kind != "better"))) | {"kind": kind} for i in range(claims)]
        more = {"cluster": cluster} | ({"vary": ["split"]} if overlap else {})
        study = load(scores, hypotheses=hypotheses, **more).study
        counts = {"count/test_examples": 10.0, "count/train_examples": 40.0}
        compared = {
            (arm, seed): Record(f"{arm}{seed}", "k", "compare", arm, seed, "FINISHED", {f"test/{AZIMUTH}": v} | counts)
            for seed, gap in enumerate(gaps, 1)
            for arm, v in (("existing", 7.0), ("hybrid", 7.0 + gap))
        }
        metrics = {AZIMUTH: Metric(AZIMUTH, "Azimuth error", "°", "lower", print)}
        return "\n".join(power_plan(study, metrics, compared, difference).lines())

    return build


def planned_fraction(arms: int) -> Callable[[Path], str]:
    """What `ablate plan` says of the fraction."""
    return lambda folder: "\n".join(fraction_words(fraction(arms)(folder).study))


FLAT = (-0.5,) * 5
MEDIAN = {"type": "median", "n_startup_trials": 1}
RATES = [1e-3, 1.1e-3]  # of two trials, far from the edges of the space
CASES: Mapping[str, Callable[[Path], Results | str]] = {
    "better": two(),
    "worse": two(7.5),
    "open": two(7.0),
    "alone": lambda folder: load({"existing": around(7.0)}),
    "better and worse": two_metrics(6.5, 58.0),
    "better and worse, one seed": first(1, two_metrics(6.5, 58.0)),
    "better and open": two_metrics(6.5, 60.0),
    "one seed": two(seeds=1),
    "three seeds": two(seeds=3),
    "forty seeds": two(6.9, seeds=40),
    "no pair": lambda folder: load({"existing": around(7.0), "hybrid": {}}),
    "no spread": differing(*FLAT),
    "of the same size": lambda folder: load({"existing": around(7.0), "existing-too": around(6.5, 1)}),
    "not a number": lambda folder: load({"existing": around(7.0), "hybrid": {**around(6.5, 1), 2: math.nan}}),
    "supported": two(hypotheses=[asked()]),
    "supported margin": two(hypotheses=[asked(0.3)]),
    "refuted": two(7.5, hypotheses=[asked()]),
    "refuted margin": two(hypotheses=[asked(0.7)]),
    "undecided": two(7.0, hypotheses=[asked()]),
    "undecided margin": two(hypotheses=[asked(0.5)]),
    "three hypotheses": borderline,
    "too few pairs": two(seeds=4, hypotheses=[asked()]),
    "accuracy, declared": two_metrics(6.5, 70.0, hypotheses=[asked() | {"metric": "accuracy"}]),
    "two pairs": two(seeds=2, hypotheses=[asked()]),
    "undecided, widely": differing(-0.5, 0.3, -0.6, 0.2, -0.4, hypotheses=[asked()]),
    "one pair": two(seeds=1, hypotheses=[asked()]),
    "no pair, declared": lambda folder: load({"existing": around(7.0), "hybrid": {}}, hypotheses=[asked()]),
    "no spread, declared": differing(*FLAT, hypotheses=[asked()]),
    "not worse": two(7.0, hypotheses=claim("not_worse", 0.5)),
    "not worse refuted": two(8.0, hypotheses=claim("not_worse", 0.5)),
    "not worse open": two(7.5, hypotheses=claim("not_worse", 0.5)),
    "equivalent": two(7.0, hypotheses=claim("equivalent", 0.5)),
    "equivalent refuted": two(8.0, hypotheses=claim("equivalent", 0.5)),
    "equivalent open": two(7.5, hypotheses=claim("equivalent", 0.5)),
    "late": amended(ADDED + "hybrid against existing in azimuth_mae_deg, margin 0"),
    "withdrawn": amended(WITHDRAWN + "hybrid against existing in azimuth_mae_deg, margin 0.5"),
    "looked": amended("seeds 4, 5 added, after all others had finished"),
    **{f"{kind} {outcome}": control(kind, *values) for kind in CONTROLS for outcome, values in OUTCOMES.items()},
    "wide better, one seed": first(1, control("wide", *OUTCOMES["better"])),
    "control unknown": lambda folder: load(
        {"existing": around(7.0), "hybrid": around(6.5, 1), "control": {}}, arms={"control": CONTROLS["wide"]}
    ),
    "gain open": control("wide", 6.8, hybrid=7.0),
    "gain within the margin": control("wide", 7.0, 0.3, hybrid=6.9),
    "gain at the margin": control("wide", 7.0, 0.5),
    "gain negative": control("wide", 7.0, hybrid=7.4),
    "gain unknown": lambda folder: load(
        {"existing": around(7.0), "hybrid": {}, "control": around(7.0, 1)}, arms={"control": CONTROLS["wide"]}
    ),
    "larger than its control": control("informed", 7.0, name="existing-2d"),
    "together better": together(wide=6.9, shuffled=7.1, informed=6.7),
    "together open": together(wide=6.5, shuffled=6.5, informed=6.5),
    "together uninformed": together(wide=6.9, shuffled=7.1, informed=7.0),
    "together worse": together(wide=6.2, shuffled=6.2, informed=6.2),
    "together misinformed": together(wide=6.9, shuffled=7.1, informed=7.4),
    "together equal": together(0.3, wide=6.5, shuffled=6.5, informed=6.5),
    "together uninformed equal": together(0.3, wide=6.9, shuffled=7.1, informed=7.0),
    "together unknown": together(wide=None, shuffled=None, informed=None),
    "together without a gain": together(hybrid=7.0, wide=6.9, shuffled=7.1, informed=6.7),
    "together without an interval": lambda folder: load(
        {"existing": around(7.0), "hybrid": {}, "wide": around(6.9), "informed": around(6.9, 1)},
        arms={name: CONTROLS[name] for name in ("wide", "informed")},
    ),
    "together dropped": together(wide=6.9, shuffled=7.1, informed=6.7, drop=True),
    "tuned apart": tuned(
        {"existing": RATES, "hybrid": RATES, "informed": [1e-3, 1.2e-3]}, informed=CONTROLS["informed"]
    ),
    "tuned alike": tuned({"existing": RATES, "hybrid": RATES, "informed": RATES}, informed=CONTROLS["informed"]),
    "along better": along((7.0, 6.5), (7.0, 6.8)),
    "along worse": along((7.0, 7.5), (7.0, 7.2)),
    "along open": along((7.0, 7.0), (7.0, 7.0)),
    "along equal": along((7.0, 7.0), (7.0, 7.0), margin=0.3),
    "along one seed": along((7.0, 6.5), (7.0, 6.8), seeds=1),
    "along with a gap": along((7.0, 6.5), (7.0, 6.8), missing=True),
    "along alone": lonely_factor,
    "behind a yardstick": beside(6.0),
    "level with a yardstick": beside(6.5),
    "before a yardstick": beside(9.0),
    "behind one that knows": beside(6.0, truth=True),
    "yardstick, one seed": beside(6.0, seeds=1),
    "yardstick with a margin": beside(6.6, margin=0.5),
    "four people": people(4),
    "twelve people": people(12),
    "people of other sizes": people(4, larger_first=True),
    "people and a margin": people(4, hypotheses=[asked(0.55)]),
    "no examples": examples(None),
    "examples of one arm": lambda folder: load(
        {"existing": around(7.0), "hybrid": around(6.5, 1)},
        frames={"existing": person_rows({1: [7.0], 2: [8.0]})},
        folder=folder,
        hypotheses=[asked()],
    ),
    "people of each arm its own": examples(person_rows({1: [7.0], 2: [8.0]}), person_rows({3: [7.0], 4: [8.0]})),
    "people of one arm": examples(person_rows({1: [7.0]}), pd.DataFrame({AZIMUTH: [1.0]})),
    "nobody named": examples(pd.DataFrame({AZIMUTH: [1.0, 2.0]})),
    "no value of people": examples(person_rows({1: [1.0]}, "other")),
    "undefined for people": examples(person_rows({1: [float("nan")]})),
    "undefined for one": examples(person_rows({1: [1.0], 2: [2.0], 3: [float("nan")]})),
    "five clusters": people(5, cluster="subject", hypotheses=[asked()]),
    "five clusters, exploratory": people(5, cluster="subject"),
    "five clusters and a control": clusters_and_a_control,
    "data in a folder": typed("ablate run toy.toml --data-root '/my data' --workers 2"),
    "five clusters, inconclusive": people_and_seeds,
    "five clusters at the margin": people(5, cluster="subject", hypotheses=[asked(0.55)]),
    "three clusters": people(3, cluster="subject", hypotheses=[asked()]),
    "one cluster": people(1, cluster="subject", hypotheses=[asked()]),
    "clusters without examples": examples(None, cluster="subject"),
    "clusters unnamed": examples(pd.DataFrame({AZIMUTH: [1.0, 2.0]}), cluster="subject"),
    "clusters that change": examples(
        person_rows({1: [1.0], 2: [2.0]}), person_rows({1: [1.0], 3: [2.0]}), cluster="subject"
    ),
    "clusters not finite": examples(
        pd.DataFrame({"subject": [1.0, float("nan")], AZIMUTH: [1.0, 2.0]}), cluster="subject"
    ),
    "clusters without a value": examples(person_rows({1: [float("nan")], 2: [float("nan")]}), cluster="subject"),
    "clusters of a median": reduced(people(5, cluster="subject"), "median"),
    "clusters without a spread": flat_clusters,
    "examples vary": examples_vary,
    "few examples": few_examples,
    "few examples, one seed": first(1, few_examples),
    "printed": printed_external,
    "printed, one seed": partial(printed_external, runs=1),
    "redrawn": redrawn(two()),
    "redrawn, declared": redrawn(two(hypotheses=[asked()])),
    "redrawn and tuned per seed": redrawn(tuned({"existing": RATES, "hybrid": RATES}, per="seed")),
    "redrawn clusters": redrawn(people(5, cluster="subject", hypotheses=[asked()])),
    "toy": toy(),
    "signs without a font": lambda folder: of_results(two()(folder), replace(EVERY_PICTURE, undrawn=("基线",))),
    "toy, too few seeds": toy(hypotheses=[{"arm": "hybrid", "against": "existing", "metric": AZIMUTH}]),
    "toy of a smaller arm": toy(hypotheses=[{"arm": "existing", "against": "hybrid", "metric": AZIMUTH}]),
    "toy with gaps": toy(skip=[("elepose", 3)], fail=[("hybrid", 2)]),
    "toy of five arms": toy(
        arms={
            **ARMS,
            "existing-wide": {"label": "Wide", "set": {"model.use_existing": 2}},
            "existing-2d": {"label": "With 2D", "set": {"model.use_existing": 3}},
        },
        more={
            "report": {
                "densities": {"azimuth_deg": {"error": AZIMUTH, "period": 360.0}},
                "conditions": {"azimuth_deg": {"period": 360.0}},
            }
        },
    ),
    "toy untuned": toy(tuned=False),
    "toy without a run": toy(skip=[(arm, seed) for arm in ARMS for seed in (1, 2, 3)], tuned=False),
    "tuned per arm": tuned({"existing": RATES, "hybrid": RATES}),
    "tuned per seed": tuned({"existing": RATES, "hybrid": RATES}, per="seed"),
    "tuned unequally": tuned({"existing": RATES, "hybrid": [1e-3, None]}),
    "tuned unequally, with a pruner": tuned({"existing": RATES, "hybrid": [1e-3, None]}, pruner=MEDIAN),
    "tuned with a pruner": tuned({"existing": RATES, "hybrid": RATES}, pruner=MEDIAN),
    "tuned with a pruned trial": tuned({"existing": RATES, "hybrid": RATES}, pruner=MEDIAN, pruned="hybrid"),
    "tuned at an edge": tuned({"existing": RATES, "hybrid": [1e-3, 2.95e-3]}),
    "tuned at an edge per seed": tuned({"existing": RATES, "hybrid": [1e-3, 2.95e-3]}, per="seed"),
    "tuned in two settings": tuned(
        {"existing": RATES, "hybrid": RATES},
        space={**SPACE, "training.weight_decay": {"type": "float", "low": 0.0, "high": 1.0}},
    ),
    "not tuned yet": tuned({}),
    "other code": code("a1", "b2"),
    "unknown code": code("a1", "2:b2"),
    "one code": code("a1", "a1"),
    "same data": same_data,
    "failed": with_status("hybrid", "failed", (5, 6, 7)),
    "failed of the other": with_status("existing", "failed", (2, 3, 4, 5, 6, 7), 7.5),
    "failed and mostly even": with_status("hybrid", "failed", (1,), 7.0),
    "failed and worse": with_status("hybrid", "failed", (4, 5, 6, 7), 7.5),
    "failed and even": with_failures_of_both,
    "far out": differing(-0.5, -0.6, 53.0, -0.4, -0.55, -0.45, -0.52),
    "far out twice": differing(-0.5, -0.6, 53.0, -0.4, -0.55, -0.45, -0.52, 60.0, -0.51, -0.49, -0.53, -0.56),
    "other data": external(100, 100),
    "other data of other sizes": external(100, 90),
    "other data, one run": external(100, 100, runs=1),
    "other data, one run of some": external(100, 100, of_hybrid=1),
    "other data, fewer runs of some": external(100, 100, of_hybrid=3),
    "other data, unscored": external(100, 100, unscored=True),
    "a twin": lambda _: load(
        {"existing": around(7.0), "twin": around(7.0, 1)},
        arms={"twin": {"replicate": 1}},
        hypotheses=[asked(arm="twin")],
    ),
    "adopted": adopted(),
    "adopted with a note": adopted("two rows were left out"),
    "adopted with a gap": lambda folder: load(
        {"existing": around(7.0), "hybrid": {1: 6.5}}, settings={"run": {"adopted": "table.csv"}}
    ),
    "adopted, declared": adopted(hypotheses=[asked()]),
    "gallery that is not there": gallery("ablate.depth_refinement.gallery:nosuch"),
    "gallery that fails": gallery("ablate.depth_refinement.metrics:METRICS"),
    "gallery of nothing": gallery("ablate.depth_refinement.gallery:draw", lambda name: two(report={"gallery": name})),
    "command": command(),
    "function": command(function=True),
    "command with a pattern": command({"pattern": "(?P<name>loss) (?P<value>.*)"}),
    "command with controls": command(
        arms={
            "plain": {"label": "Plain", "control": {"freeze": ["head"]}},
            "dropout": {"control": {"match_parameters": {"of": "plain", "by": "run.width"}}},
        }
    ),
    "command that logs": command({"scores": "mlflow", "command": ["python", "train.py", "--seed", "{seed}"]}),
    "one split": command({"test": "none"}),
    "one split, untuned": command({"test": "none"}, tuning=None),
    "one split, best weights": command({"test": "none", "selection": "best-val"}),
    "outdated": outdated_run,
    "mixed": mixed,
    "added": lambda folder: design_results("add_one_in", synergy),
    "left out": lambda folder: design_results("leave_one_out", synergy),
    "left out, by its interval alone": lambda folder: design_results("leave_one_out", marginal, "abc"),
    "factorial": lambda folder: design_results("factorial", synergy),
    "factorial, only together": lambda folder: design_results("factorial", interacting(-1.0, 2.0, 1.0)),
    "factorial, only apart": lambda folder: design_results("factorial", interacting(1.0, -2.0, 1.0)),
    "factorial, shown together": lambda folder: design_results("factorial", interacting(0.0, 2.0, 1.0)),
    "factorial, shown apart": lambda folder: design_results("factorial", interacting(2.0, -2.0, 3.0)),
    "factorial, apart": lambda folder: design_results("factorial", interacting(1.0, 0.0, 1.0)),
    "factorial, nothing": lambda folder: design_results("factorial", interacting(0.0, 0.0, 0.0)),
    "factorial, one seed": first(1, lambda folder: design_results("factorial", synergy)),
    "a fraction of resolution 3": fraction(8),
    "a fraction of resolution 4": fraction(16),
    "a fraction of resolution 6": fraction(32),
    "design on data sets": design_on_data_sets,
    "three data sets": lambda folder: dataset_results(everywhere),
    "three data sets, declared": lambda folder: dataset_results(everywhere, claim=True),
    "three data sets with a gap": lambda folder: dataset_results(everywhere, claim=True, skip=(("other@b", 3),)),
    "three data sets, one seed": first(1, lambda folder: dataset_results(everywhere)),
    "four data sets": lambda folder: dataset_results(everywhere, "abcd"),
    "four data sets, declared": lambda folder: dataset_results(everywhere, "abcd", claim=True),
    "four data sets, both at once": lambda folder: dataset_results(at_once, "abcd", claim=True),
    "no seed on every data set": lambda folder: dataset_results(
        everywhere, claim=True, skip=tuple(("other@b", seed) for seed in range(1, 7))
    ),
    "one of two data sets": lambda folder: dataset_results(partly, "ab"),
    "answer on three data sets": answer_of(lambda folder: dataset_results(everywhere)),
    "answer on one of two data sets": answer_of(lambda folder: dataset_results(partly, "ab")),
    "baseline on data sets": baseline_on_data_sets,
    "before the first look": looked(3),
    "between looks": looked(7, 0.0),
    "stopped at a look": looked(12),
    "decided at the last look": looked(12, 0.0),
    "progress: stopped": progress(looked(12)),
    "progress: goes on": progress(looked(7, 0.0)),
    "progress: the last": progress(looked(12, 0.0)),
    "progress: no looks": progress(two(hypotheses=[asked()])),
    "progress: not yet": progress(looked(3)),
    "asked before": asked_before(11, 15),
    "asked before, some seeds": asked_before(4, 9),
    "asked before, the same seeds": asked_before(1, 6),
    "asked twice before, the same seeds": asked_before(4, 9, again=True),
    "asked before, with looks": asked_before(11, 15, stopped=True),
    "asked before, the same seeds and looks": asked_before(1, 6, stopped=True),
    "folds": redrawn(two(), "fold"),
    "redrawn, one run each": redrawn(
        lambda folder: load({"existing": {1: 7.0}, "hybrid": {1: 6.5}}, seeds=list(range(1, 6)))
    ),
    "redrawn, one seed": redrawn(two(seeds=1)),
    "judged better": judged(0.5, 0.6, 0.55, 0.45, 0.5),
    "judged by a margin": judged(0.5, 0.6, 0.55, 0.45, 0.5, margin=0.2),
    "judged worse": judged(-0.5, -0.6, -0.55, -0.45, -0.5),
    "judged without spread": judged(0.5, 0.5, 0.5, 0.5, 0.5),
    "judged too few": judged(0.5),
    "planned": planned(),
    "planned with clusters": planned(cluster="subject"),
    "planned with a pilot": planned(-0.5, -0.4, -0.6, difference=0.5),
    "planned for little": planned(-0.5, -0.4, -0.6, difference=0.0),
    "planned without spread": planned(-0.5, -0.5, -0.5),
    "planned not worse": planned(kind="not_worse"),
    "planned equivalence": planned(kind="equivalent"),
    "planned few": planned(seeds=3, claims=2),
    "planned fraction of resolution 3": planned_fraction(8),
    "planned fraction of resolution 4": planned_fraction(16),
    "planned fraction of resolution 6": planned_fraction(32),
    "planned without a hypothesis": planned(claims=0),
    "planned redrawn": planned(-0.5, -0.4, -0.6, overlap=True),
}
