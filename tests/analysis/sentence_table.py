"""A row for every sentence that a report, a comparison, a judgement or a plan can print.

The template as the source has it → a case that says it and one, mostly next to it, that must not. `{}` stands for what
is filled in. Texts with fewer than three words of their own are left out: most are headers, labels and parts of words.
"""

from __future__ import annotations

from collections.abc import Mapping

# Below `ablate`: where sentences are put together. The other modules of `report` draw, or write what these say.
FILES = (
    "analysis/across.py",
    "analysis/answer.py",
    "analysis/budget.py",
    "analysis/clusters.py",
    "analysis/compare.py",
    "analysis/conditions.py",
    "analysis/control_findings.py",
    "analysis/control_phrasing.py",
    "analysis/controls.py",
    "analysis/costs.py",
    "analysis/curves.py",
    "analysis/densities.py",
    "analysis/design.py",
    "analysis/effects.py",
    "analysis/example_tables.py",
    "analysis/external.py",
    "analysis/factor.py",
    "analysis/failures.py",
    "analysis/fraction.py",
    "analysis/numbers.py",
    "analysis/phrasing.py",
    "analysis/population.py",
    "analysis/power_plan.py",
    "analysis/promises.py",
    "analysis/records.py",
    "analysis/results.py",
    "analysis/same_question.py",
    "analysis/short_answer.py",
    "analysis/statistics.py",
    "analysis/stopping.py",
    "analysis/study_analysis.py",
    "analysis/tuning_history.py",
    "analysis/two_way.py",
    "analysis/verdicts.py",
    "analysis/warnings.py",
    "analysis/yardsticks.py",
    "report/calibration.py",
    "report/figures.py",
    "report/outline.py",
    "report/sections_answer.py",
    "report/sections_claims.py",
    "report/sections_datasets.py",
    "report/sections_design.py",
    "report/sections_origin.py",
    "report/sections_results.py",
    "report/tables.py",
    "report/tables_claims.py",
    "report/tables_figures.py",
    "report/tables_results.py",
    "report/terminal.py",
    "report/terminal_compare.py",
    "commands/judge.py",
)
# Modules that draw or write what the others say: their words are in pictures (tests/report/test_figures.py), names of
# files and of fields, or markup. `terminal_plan` lists runs.
NO_SENTENCES = (
    *(
        f"report/{name}.py"
        for name in (
            "__init__",
            "blocks",
            "build",
            "card",
            "csv_records",
            "dot_plot",
            "formats",
            "scales",
            "style",
            "svg",
            "tidy",
        )
    ),
    *(f"report/{name}.py" for name in ("html", "latex", "latex_text", "markdown", "notebook")),
    *(f"report/{name}.py" for name in ("terminal_list", "terminal_plan")),
    *(f"report/figures_{name}.py" for name in ("cost", "density", "design", "dots", "factor", "lines", "tuning")),
    *(f"analysis/{name}.py" for name in ("__init__", "arm_means", "look_rows", "spending")),
)
# Texts of three words that no page has, with where they are.
ELSEWHERE: Mapping[str, str] = {
    "Latency of one example (ms)": "the label of an axis of the figure of costs",
    r"(--data-root[ =])('/[^']*'|/\S*|[A-Za-z]:\\\S*)": "a pattern of a command, in the section on where it comes from",
}
SENTENCES: Mapping[str, tuple[str, str]] = {
    # analysis/short_answer.py
    "too few seeds": ("too few pairs", "supported"),
    "{} is better than {}": ("supported", "not worse"),
    "{} is at most {} worse than {}": ("not worse", "supported"),
    "{} differs from {} by less than {}": ("equivalent", "supported"),
    "The study is not finished: run it again{}, and what is missing is done.": ("toy with gaps", "toy"),
    ", up to its look at {} seeds": ("between looks", "stopped at a look"),
    "Nothing was declared, so nothing is decided: to decide what these differences suggest, declare it as a "
    "hypothesis of another study, with other seeds, before its runs.": ("better", "supported"),
    "Every hypothesis is decided.": ("supported", "undecided"),
    "The last planned look is taken: what it left open stays open in this study.": (
        "decided at the last look",
        "stopped at a look",
    ),
    "{}{} would decide {} with a power of {} %, if the true difference is the measured one (an estimate from {} "
    "seeds).": ("too few pairs", "two pairs"),
    " of every arm, about {} of training,": ("toy, too few seeds", "too few pairs"),
    "{}, {} in all, are the fewest that can decide {}.": ("two pairs", "too few pairs"),
    "More than {} seeds would be needed to decide {}, as far as these runs tell.": ("undecided", "too few pairs"),
    "No number of seeds would decide {}, if the true difference is the measured one: {} differ too much for that.": (
        "five clusters at the margin",
        "five clusters",
    ),
    "More seeds would reduce {} % of the variance that leaves {} open, and other test data the rest; how many would "
    "decide is not estimated.": ("five clusters, inconclusive", "five clusters at the margin"),
    # report/sections_answer.py, the first screen
    "Does it earn its parameters?": ("toy, too few seeds", "toy of a smaller arm"),
    "What it costs": ("toy of a smaller arm", "toy, too few seeds"),
    "Each difference{} is paired by seed and has {}. Verdicts are {}, corrected for the number of hypotheses.": (
        "supported",
        "better",
    ),
    "the wider of the {}95 % intervals over seeds and over seeds and {}": ("five clusters", "supported"),
    "below 0 is better": ("supported", "accuracy, declared"),
    "above 0 is better": ("accuracy, declared", "supported"),
    "No font that is installed here has every sign of {}: in figures they are boxes.": ("signs without a font", "toy"),
    "Every arm at every level: the table": ("along alone", "toy"),
    "yardsticks that an arm is not better than": ("behind a yardstick", "supported"),
    "{} of {} without a result": ("toy with gaps", "toy"),
    # analysis/answer.py
    "for these tuned settings": ("tuned per arm", "tuned per seed"),
    "{} and this data": ("better", "judged better"),
    "at this tuning budget and on this data": ("tuned per seed", "tuned per arm"),
    "for these untuned settings and this data": ("supported", "tuned per arm"),
    "by these adopted results": ("adopted, declared", "adopted"),
    "There is nothing to compare: the study has no arm beside its baseline.": ("alone", "better"),
    "exploratory, {}no hypothesis was declared: {}": ("better", "supported"),
    "at most {} worse {}": ("not worse", "supported"),
    "by more than {} ": ("supported margin", "supported"),
    "{}by less than {} ": ("equivalent", "supported"),
    "it is supported that": ("supported", "undecided"),
    "it is refuted that": ("refuted", "supported"),
    "it stays open whether": ("undecided", "supported"),
    "there is no verdict on whether": ("too few pairs", "supported"),
    "not measured: no seed has both runs": ("no pair, declared", "supported"),
    "there is no answer yet, for {} have no finished seed in common": ("no pair", "better"),
    "it is worse {}": ("better and worse", "better"),
    "{} is worse than {} {}": ("worse", "better"),
    "the interval of the difference{} includes 0 {}": ("open", "better"),
    "nothing can be shown{} ({})": ("one seed", "three seeds"),
    ", at the same number of parameters as {}": ("of the same size", "better"),
    # analysis/clusters.py
    "every seed draws its own examples, so that no value of {} is in all of them": (
        "redrawn clusters",
        "five clusters",
    ),
    "a run kept no examples": ("clusters without examples", "five clusters"),
    "no seed has a score of both arms on every data set": ("no seed on every data set", "three data sets with a gap"),
    "fewer than {} data sets give no verdict on others: it is over seeds alone": (
        "three data sets, declared",
        "four data sets, declared",
    ),
    "the examples have no column {} or no value of {}": ("clusters unnamed", "five clusters"),
    "not every example has a value in the column {}": ("clusters not finite", "clusters that change"),
    "the examples, or their values of {}, are not the same in every run": ("clusters that change", "five clusters"),
    "{} is undefined in a run": ("clusters without a value", "five clusters"),
    "no seed has a score of both arms": ("no pair, declared", "supported"),
    "{}: no interval over both": ("one cluster", "five clusters"),
    "fewer than {} clusters ({}) give no verdict on others: it is over seeds alone": (
        "three clusters",
        "five clusters",
    ),
    "a {} is no sum over examples": ("clusters of a median", "five clusters, exploratory"),
    # analysis/compare.py
    "{} has no finite score": ("not a number", "better"),
    "has not been run": ("no pair", "failed"),
    # analysis/conditions.py
    "too few examples: {}, at least {} are needed": ("few examples", "toy"),
    # analysis/control_phrasing.py
    "the same compute": ("as long as the baseline better", "longer better"),
    "as many FLOPs of a forward pass × epochs as {}, by {}": ("longer better", "wide better"),
    "more compute alone does not explain its gain over {}": ("longer better", "longer open"),
    "as much compute, spent on {}, gives its gain over {} to within the margin": ("longer equal", "longer open"),
    "it is not shown that its gain over {} takes more than as much compute, spent on {}": (
        "longer open",
        "longer better",
    ),
    "as much compute, spent on {}, gives more than its gain over {}": ("longer worse", "longer open"),
    "with as much compute as {}": ("longer and shuffled better", "wide and shuffled better"),
    "more parameters alone do not explain its gain over {}": ("wide better", "wide open"),
    "widening {} gives its gain over {} to within the margin": ("wide equal", "wide open"),
    "it is not shown that its gain over {} takes more than widening {} gives": ("wide open", "wide better"),
    "widening {} to as many parameters gives more than its gain over {}": ("wide worse", "wide open"),
    "its gain over {} depends on what {} tells of the example at hand": ("shuffled better", "shuffled open"),
    "with another example's {} its gain over {} stays to within the margin": ("shuffled equal", "shuffled open"),
    "it is not shown that its gain over {} comes from what {} tells of the example at hand": (
        "shuffled open",
        "shuffled better",
    ),
    "its gain over {} is larger with another example's {}": ("shuffled worse", "shuffled open"),
    "its gain over {} depends on {}": ("dropped better", "dropped open"),
    "without {} its gain over {} stays to within the margin": ("dropped equal", "dropped open"),
    "it is not shown that its gain over {} takes {}": ("dropped open", "dropped better"),
    "its gain over {} is larger without {}": ("dropped worse", "dropped open"),
    "random features in {} do not give all of its gain over {}": ("frozen better", "frozen open"),
    "random features in {} give its gain over {} to within the margin": ("frozen equal", "frozen open"),
    "it is not shown that its gain over {} takes trained features in {}": ("frozen open", "frozen better"),
    "its gain over {} is larger with random features in {}": ("frozen worse", "frozen open"),
    "the same information without the design gives less than its gain over {}": ("informed better", "informed open"),
    "the same information without the design gives its gain over {} to within the margin": (
        "informed equal",
        "informed open",
    ),
    "it is not shown that the design gives more than the information does": ("informed open", "informed better"),
    "the same information without the design gives more than its gain over {}": ("informed worse", "informed open"),
    "not all of its gain over {} is left {}": ("mixed better", "mixed open"),
    "{}, its gain over {} stays to within the margin": ("mixed equal", "mixed open"),
    "it is not shown that any of its gain over {} is lost {}": ("mixed open", "mixed better"),
    "its gain over {} is larger {}": ("mixed worse", "mixed open"),
    "it does worse {}": ("shuffled of the baseline better", "shuffled of the baseline worse"),
    "{}, it changes by less than the margin": ("shuffled of the baseline equal", "shuffled of the baseline open"),
    "it is not shown that it does worse {}": ("shuffled of the baseline open", "shuffled of the baseline better"),
    "it does better {}": ("shuffled of the baseline worse", "shuffled of the baseline open"),
    "with as many parameters as {}": ("wide and shuffled better", "better"),
    "with another example's {}": ("shuffled worse", "dropped worse"),
    "with random features in {}": ("frozen worse", "dropped worse"),
    "with the information of {}": ("informed and shuffled better", "better"),
    "with {}, {} does better": ("matched of the baseline better", "matched of the baseline open"),
    "with {}, they differ by less than the margin": ("matched of the baseline equal", "matched of the baseline open"),
    "with {}, neither is shown to do better": ("matched of the baseline open", "matched of the baseline better"),
    "with {}, {} does better, so that {} cannot be why": (
        "matched of the baseline worse",
        "matched of the baseline open",
    ),
    "the same number of parameters": ("matched of the baseline open", "informed as the baseline open"),
    "the same information": ("informed better", "wide better"),
    "more parameters do not explain it alone ({} is still better than {} by {})": ("together better", "together open"),
    "more parameters give it to within the margin ({} against {}: {})": ("together equal", "together open"),
    "more parameters are not ruled out ({} against {}: {})": ("together open", "together better"),
    "more parameters give more than it ({} is better than {} by {})": ("together worse", "together open"),
    "more parameters are not known to do": ("together unknown", "together open"),
    "more information gives a gain by itself ({} is better than {} by {})": ("together better", "better"),
    "more information gives no more than the margin by itself ({} against {}: {})": (
        "together uninformed equal",
        "together uninformed",
    ),
    "more information is not shown to give a gain by itself ({} against {}: {})": (
        "together uninformed",
        "together better",
    ),
    "more information gives no gain by itself ({} is worse than {} by {})": ("together misinformed", "together better"),
    "more information is not known to give a gain by itself": ("together unknown", "together open"),
    "{} {} changes by less than the margin ({}: {})": ("together equal", "together open"),
    "{} {} is not shown to lose ({}: {})": ("together open", "together better"),
    "{} {} is better by {} ({})": ("together worse", "together open"),
    "what {} is {} is not known ({})": ("together unknown", "together open"),
    "the design adds {} to what the information gives{}": ("together better", "together open"),
    "the design changes what the information gives by less than the margin{}": ("together equal", "together open"),
    "the design is not shown to add to what the information gives ({}){}": ("together open", "together better"),
    "the design takes {} from what the information gives{}": ("together worse", "together open"),
    "the design is not known to add to it": ("together unknown", "together open"),
    "as many parameters as {}, by widening {}": ("wide better", "shuffled better"),
    "without the joints {}": ("joints better", "better"),
    "random, untrained features in {}": ("frozen better", "better"),
    "the information of {} without its design": ("informed better", "better"),
    "{}: nothing can be said of what it rules out": ("control unknown", "wide better"),
    "; {} itself has a gain": ("wide equal", "wide better"),
    "{}: {}{}. That gain is {}{}": ("wide better", "better"),
    "{}; its controls are not put together": ("together without a gain", "together better"),
    "the gain of {} over {} in {}, {}": ("together better", "better"),
    "{}, beside its controls: {}": ("together better", "better"),
    "{}: whether there is a gain to explain is not known": ("gain unknown", "wide better"),
    "{} is better than {} by {}": ("wide better", "wide open"),
    "{}, a gain of {} over {} is not shown: there is no interval": (
        "together without an interval",
        "together without a gain",
    ),
    "{}, {} is worse than {} by {}": ("gain negative", "wide better"),
    "{}, {} and {} differ by less than the margin of {} ({})": ("wide equal", "wide open"),
    " beyond the margin of {}": ("gain at the margin", "gain open"),
    "{}, a gain of {} over {}{} is not shown: the interval includes {} ({})": ("gain open", "wide better"),
    "{}, {} is {} than {} by {}": ("wide worse", "wide open"),
    "{}, the interval of the difference between {} and {} includes {} ({})": ("wide open", "wide better"),
    "{} also differs from {}": ("larger than its control", "informed better"),
    "; {} {}, whose part in it is not told apart": ("larger than its control", "informed better"),
    "no seed has both runs": ("no pair, declared", "supported"),
    "in {}, {} has no interval to go by ({})": ("control unknown", "wide better"),
    "the interval includes {}, {}": ("together open", "together better"),
    # analysis/densities.py
    "Off by over {}": ("few examples", "toy"),
    # analysis/design.py
    "in {}, the sum of the interactions {} is shown ({}); which of them it is, this fraction cannot tell": (
        "a fraction of resolution 4",
        "a fraction of resolution 6",
    ),
    "Exploratory, p by Holm over all {}: ": ("added", "better"),
    "main effects and interactions": ("factorial", "added"),
    "with this correction no part is shown to change {}{}": ("left out, by its interval alone", "left out"),
    "{}; each by its interval alone, {}{}": ("left out, by its interval alone", "left out"),
    ", averaged over the arms with and without the other parts": ("factorial", "left out"),
    ", taken from the full design": ("left out", "added"),
    ", added to the bare design": ("added", "left out"),
    "no part is shown to change {}{}": ("factorial, nothing", "factorial"),
    "; in this fraction such a number may also come from interactions of two parts, which the table names": (
        "a fraction of resolution 3",
        "a fraction of resolution 4",
    ),
    "the 95 % intervals of the parts lie between {} and {}": ("factorial, nothing", "factorial, one seed"),
    "no part has an interval": ("factorial, one seed", "factorial, nothing"),
    "with it {}; without it {}; the difference of the two {}": ("factorial", "factorial, nothing"),
    "{} helps only with {}, and harms without it": ("factorial, only together", "factorial"),
    "{} helps only without {}, and harms with it": ("factorial, only apart", "factorial"),
    "{} helps with {}; without it no help is shown": ("factorial, shown together", "factorial"),
    "{} helps without {}; with it no help is shown": ("factorial, shown apart", "factorial"),
    "what {} does depends on {}": ("factorial", "factorial, nothing"),
    # analysis/external.py
    "one run of some arms: a number without an interval, which claims nothing": (
        "other data, one run of some",
        "other data, one run",
    ),
    "one run an arm: numbers without intervals, which claim nothing": ("other data, one run", "other data"),
    "from {} to {} runs an arm: differences are over the seeds that both arms have": (
        "other data, fewer runs of some",
        "other data",
    ),
    "runs were scored on {} to {} examples: not all on the same": ("other data of other sizes", "other data"),
    # analysis/factor.py
    "Exploratory, every interval by itself. ": ("along better", "better"),
    "along {} there is nothing to compare in {}": ("along alone", "along better"),
    "is better than {}": ("along better", "along open"),
    "is worse than {}": ("along worse", "along open"),
    "differs by less than the margin from {}": ("along equal", "along open"),
    "has no interval against {}": ("along one seed", "along better"),
    "is neither shown to be better nor worse than {}": ("along open", "along better"),
    "{}, the interval {} includes {}": ("along open", "along better"),
    ", which includes no change": ("along open", "along better"),
    ". From {} to {} the difference goes from {} to {}: {}, {}{}": ("along better", "better"),
    # analysis/failures.py
    ", or runs whose {} is not finite": ("not a number", "failed"),
    "Failed runs{}: {} (Boschloo's exact test, p = {}). The differences are between the seeds that are left, "
    "which need not be like the others. {}": ("failed", "far out"),
    "is in favour of {}": ("failed", "failed and worse"),
    "is even for {}": ("failed and even", "failed"),
    "does not show": ("failed", "better"),
    "With a failure counted as worse than any score, the median of {} seeds {} in {}; the signed-rank test {} "
    "a difference from 0 (p = {}, not corrected).": ("failed", "far out"),
    "A seed far out: {} and {} in {} differ at seed{} {} by {}, far from the other seeds. Where some runs "
    "collapse, the t interval and its verdict do not hold what they promise; the estimate of Hodges and "
    "Lehmann, which one seed hardly moves, is {}.": ("far out", "better"),
    # analysis/phrasing.py
    "the same at {}, no spread to judge it by": ("no spread", "better"),
    "from {} better to {} worse": ("open", "better"),
    "the margin of {}": ("supported margin", "supported"),
    "{}, the same at {}, no spread to judge it by": ("no spread", "better"),
    # analysis/population.py
    "the arms have no {} in common": ("people of each arm its own", "four people"),
    "; descriptive only, so few people say little of others": ("people and a margin", "better"),
    "better in {} of {}": ("people and a margin", "four people"),
    "{}, by more than {} in {}": ("people and a margin", "four people"),
    "; every person counts the same here, and over all examples the difference is {}": (
        "undefined for one",
        "four people",
    ),
    "no seed has the examples of both arms": ("examples of one arm", "four people"),
    "{} has no value of a single example: nothing to take apart by {}": ("no value of people", "four people"),
    "the data names no {}: nothing can be said of other people": ("people of one arm", "four people"),
    "{} is undefined for every {}": ("undefined for people", "four people"),
    "{} left out for want of a value": ("undefined for one", "four people"),
    # analysis/power_plan.py
    "{} against {} in {}{}, margin {}": ("planned", "planned without a hypothesis"),
    "seeds share training examples: {} of a pair's variance is added to the mean's": (
        "planned redrawn",
        "planned with a pilot",
    ),
    "what follows is over seeds alone; where the interval over seeds and {} is wider, the verdict uses that, and more "
    "seeds need not shorten it": ("planned with clusters", "planned"),
    "differences of {} pairs have sd {}, upper 80 % confidence limit {}": ("planned with a pilot", "planned"),
    " for this limit": ("planned with a pilot", "planned"),
    "the power to show equivalence is not computed": ("planned equivalence", "planned"),
    ", not worse": ("planned not worse", "planned"),
    "minus the margin": ("planned not worse", "planned"),
    "80 % power{} when the true improvement is {} above or below {}": ("planned", "planned few"),
    "no hypothesis is declared: the report will give intervals and no verdict": (
        "planned without a hypothesis",
        "planned",
    ),
    "; a verdict needs at least {}": ("planned few", "planned"),
    "the exact sign-flip p cannot fall below {} after correction; the t-test of the verdicts has no such floor": (
        "planned",
        "better",
    ),
    "{} finished pairs, a pilot of at least {} is needed to know their sd": ("planned", "planned with a pilot"),
    "the differences of {} pairs are all the same: without variation there is no test": (
        "planned without spread",
        "planned with a pilot",
    ),
    "no verdict with {} seeds": ("planned few", "planned"),
    "an improvement of {} is too near {} for any number of seeds": (
        "planned for little",
        "planned with a pilot",
    ),
    "an improvement of {} would be {} with {} seeds": ("planned with a pilot", "planned"),
    # analysis/promises.py
    "that the {} does what the controls ask, which ablate only passes on: {}": ("command with controls", "command"),
    "that what counts the parameters, which ablate matches, counts those that a run trains": (
        "command with controls",
        "command",
    ),
    "every arm has the same seeds": ("command", "adopted"),
    "every tuned arm has the same number of trials and the same space": ("command", "adopted"),
    "arms with the same data settings{} see the same training examples in the same order": ("better", "command"),
    ", but for twins": ("a twin", "better"),
    "the scores are those of the last weights": ("better", "adopted"),
    "test examples are scored once, after training, and never in a trial": ("better", "command"),
    "that the study's data gives no test example in training or validation": ("better", "command"),
    "test scores of a trial, which come {}, are dropped before anything is stored": ("command", "better"),
    "a failed run is a gap and no number": ("command", "adopted"),
    "the generators of random, NumPy and, where the function's module imports it, torch start from the seed": (
        "function",
        "command",
    ),
    "that nothing else in a run is random, so that runs of one seed are pairs": ("function", "command"),
    "that {} decides all that is random in a run, so that runs of one seed are pairs": ("command", "function"),
    "that runs of one seed are pairs at all, for the command does not take {}": ("added", "command"),
    "that all arms see the same data in the same order": ("command", "better"),
    "that the data stays the same from run to run, for the study names no inputs": ("function", "command"),
    "that a run uses the budget it is given, no more and no less": ("command", "better"),
    "that test data is used neither in training nor in scores on validation": ("command", "better"),
    "that tuning does not see the test scores which a script logs itself": ("command that logs", "command"),
    "that a run that was interrupted and goes on ends like one that was not": ("function", "command"),
    "that a run that was interrupted leaves nothing behind that changes the next attempt": ("command", "function"),
    " of some arms": ("other data, one run of some", "other data, one run"),
    'that the scores{} are those of the last weights (selection = "final")': ("command", "better"),
    'that the scores{} are those of the weights that did best on validation (selection = "best-val")': (
        "one split, best weights",
        "one split",
    ),
    "as a return value": ("function", "command"),
    "by a pattern in the output": ("command with a pattern", "command"),
    # analysis/statistics.py
    "{} of {} seeds have a score of both": ("no pair", "better"),
    "one {}: no interval": ("one seed", "three seeds"),
    "the same value at every {}: an interval of zero width, no test": ("no spread", "better"),
    # analysis/study_analysis.py
    "not looked at yet: the first look is at {} seeds": ("before the first look", "between looks"),
    "the split that tuning used": ("one split", "command"),
    # analysis/two_way.py
    "no variation, and so no interval": ("clusters without a spread", "five clusters, exploratory"),
    # analysis/verdicts.py
    "the arms have no subject in common": ("people of each arm its own", "undefined for one"),
    "{} with {}: their scores are of different people": (
        "people of each arm its own",
        "undefined for one",
    ),
    "not decided at {} seeds; the next look is at {}": ("between looks", "stopped at a look"),
    "at the look at {} seeds": ("stopped at a look", "between looks"),
    "at the last look, at {} seeds": ("decided at the last look", "stopped at a look"),
    "declared after runs had finished": ("late", "supported"),
    "{}: no verdict, though it counts in the correction": ("late", "supported"),
    "{}: a verdict needs at least {}": ("too few pairs", "supported"),
    "the same difference at every seed: without variation there is no test": ("no spread, declared", "supported"),
    ", corrected for {} earlier {}": ("looked", "supported"),
    "shown not to be worse by as much as {}": ("not worse", "not worse open"),
    "shown to be worse by more than {}": ("not worse refuted", "not worse open"),
    "shown neither to be worse by more than {} nor not to be": ("not worse open", "not worse"),
    "shown to differ by less than {}, in either direction": ("equivalent", "equivalent open"),
    "shown to differ by more than {}": ("equivalent refuted", "equivalent open"),
    "shown neither to differ by less than {} nor by more": ("equivalent open", "equivalent"),
    "shown to be better by more than {}": ("supported margin", "undecided margin"),
    "shown not to be better by as much as {}": ("refuted margin", "undecided margin"),
    "the improvement was shown neither to exceed {} nor to fall short of it": ("undecided margin", "supported margin"),
    "shown to be better": ("supported", "refuted"),
    "shown to be worse": ("refuted", "supported"),
    "not shown to be better, nor to be worse": ("undecided", "supported"),
    # analysis/warnings.py
    "Clusters: the study names {}, and verdicts are over seeds alone: {}.": ("one cluster", "five clusters"),
    "trials finished or pruned": ("tuned unequally, with a pruner", "tuned unequally"),
    "used this test data": ("better", "command"),
    "named the same inputs": ("command", "better"),
    "No other study in this store has {}.": ("better", "same data"),
    "{} studies in this store have {}: {}. What was chosen after seeing an earlier one's test scores "
    "makes a later one's look too good.": ("same data", "better"),
    "The {} were chosen by these scores": ("one split", "command"),
    "What was chosen after seeing these scores": ("one split, untuned", "one split"),
    "which therefore look better than scores on new data would": ("one split", "command"),
    "makes them look too good": ("one split, untuned", "one split"),
    "One split: every score is on {}, for the study has no test split. {}{}{}.": ("one split", "command"),
    "Untuned: no arm's nuisance settings (learning rate and the like) were tuned; every arm ran with the "
    "study's own. An arm may do better or worse when tuned.": ("better", "tuned per arm"),
    " In the table, {}.": ("adopted with a note", "adopted"),
    "every arm had the same tuning and training budget": ("adopted", "better"),
    "arms with the same seed had the same data in the same order": ("adopted", "better"),
    "nothing was chosen by looking at the data scored here": ("adopted", "better"),
    "the hypotheses were made before the results": ("adopted, declared", "adopted"),
    "Adopted: these scores were computed elsewhere and read from {}; no run was made here. It is the owner's "
    "word that {}.{}": ("adopted", "better"),
    "budget of a tuning run": ("command", "better"),
    "epochs of tuning": ("tuned unequally", "tuned per arm"),
    "examples seen in tuning": ("tuned unequally", "tuned per arm"),
    "The tuning budgets were not alike ({}).": ("tuned unequally", "tuned per arm"),
    "{} of {} at the {} end {} for {} of {} seeds": ("tuned at an edge per seed", "tuned per seed"),
    "{} = {} of {} at the {} end {}": ("tuned at an edge", "tuned per arm"),
    "Tuned values at the edge of their space, where a better one may lie beyond: {}.": (
        "tuned at an edge",
        "tuned per arm",
    ),
    "Runs of the same components were made by different code ({}); differences between them may be the code's. "
    "Doing the stale runs again (`--rerun stale`) makes them alike.": ("other code", "one code"),
    "Whether runs of the same components were made by the same code cannot be told: digests of their code were "
    "taken in different ways ({}).": ("unknown code", "other code"),
    "1 seed: there is no interval, no verdict, and no telling a difference from chance.": ("one seed", "three seeds"),
    "{} seeds: fewer than {} give no verdict, and only a large difference can show.": ("three seeds", "better"),
    # analysis/yardsticks.py
    "Worse than {} in {}: {}.": ("behind a yardstick", "before a yardstick"),
    "Not shown to be better than {} in {}: {}.": ("level with a yardstick", "before a yardstick"),
    "No better than {} in mean {}, without an interval: {}.": ("yardstick, one seed", "behind a yardstick"),
    # report/calibration.py
    "Calibration: with one seed there is neither an interval nor a verdict to calibrate.": ("one seed", "three seeds"),
    "95 % intervals held the true difference in {} of cases": ("better", "one seed"),
    "{} of studies with six hypotheses made a false claim, and ": ("supported", "better"),
    "Calibration: in simulations with {} to {} seeds and symmetric differences between seeds (Gaussian, and "
    "with heavy tails), {}{}.": ("better", "one seed"),
    "Calibration does not cover skewed differences: with a mild skew (gamma, shape 4) {} of simulated studies "
    "made a false claim, with a strong one (exponential) {}.": ("supported", "better"),
    "Calibration does not cover skewed differences: with a mild skew (gamma, shape 4) 95 % intervals held the "
    "true difference in {} of simulated cases, with a strong one (exponential) in {}.": ("better", "supported"),
    "Nor does it cover {} seeds, which were not simulated.": ("three seeds", "better"),
    "With a split redrawn by every seed, simulated intervals held the true difference in {} of cases; the "
    "correction is exact only where test and training examples matter alike.": ("redrawn", "better"),
    "With a tuning for every seed, {} of simulated studies made a false claim. One setting was tuned there; "
    "several settings, trials that fail and an optimum outside the space were not simulated.": (
        "tuned per seed",
        "tuned per arm",
    ),
    "Calibration does not cover the luck of the one tuning of each arm, which is in no interval: in "
    "simulations with seven seeds and one hypothesis, {} of studies of arms without a difference made a false "
    "claim.": ("tuned per arm", "tuned per seed"),
    # report/figures.py
    "No finished run has kept examples to draw.": ("gallery of nothing", "toy"),
    "The gallery `{}` could not be loaded: {}": ("gallery that is not there", "toy"),
    "The gallery `{}` could not be drawn: {}: {}": ("gallery that fails", "toy"),
    # report/sections_answer.py
    "Each arm was tuned once for all its seeds, so that differences are {}. ": ("tuned per arm", "not tuned yet"),
    " on the same data set": ("three data sets", "better"),
    "{}{}. Δ is the difference to {}{}, paired by seed{}. {}{}{}{} means no number.": ("better", "judged better"),
    "half of the correction by Nadeau and Bengio": ("folds", "redrawn"),
    "redraws the split": ("redrawn", "folds"),
    "the correction by Nadeau and Bengio": ("redrawn", "redrawn, one seed"),
    "{}, which makes them {} % wider. ": ("redrawn", "redrawn, one run each"),
    "Every seed {}, so that training sets overlap; the intervals allow for it ({})": (
        "redrawn",
        "redrawn, one seed",
    ),
    "Runs without a result": ("toy with gaps", "toy"),
    " {} of {} runs failed or are missing; they count as no number. ": ("toy with gaps", "toy"),
    "Which and why": ("toy with gaps", "toy"),
    "Mean and interval of every arm in every metric": ("better", "judged better"),
    "Difference of every arm to the baseline, every seed a dot": ("better", "judged better"),
    "What is enforced.": ("command", "adopted"),
    "What rests on the owner's word:": ("command", "adopted"),
    "Rows in italics are yardsticks, not arms. ": ("behind a yardstick", "better"),
    " at the same level": ("along better", "better"),
    ", with its 95 % interval over seeds": ("better", "one seed"),
    "; bold where the interval excludes 0, as 1 in 20 does by chance where there is no difference": ("better", "open"),
    "Scores are of one seed, without an interval": ("one seed", "three seeds"),
    "the finished ones of ": ("toy with gaps", "toy"),
    "Scores are means over {}{} seeds ± 95 % t interval": ("better", "one seed"),
    # report/sections_claims.py
    "These intervals are over seeds alone: they say nothing of other data than that which gave the scores.": (
        "better",
        "five clusters",
    ),
    "The interval over seeds and clusters is about other seeds and other values of {} at once (two-way "
    "clustered, Cameron, Gelbach and Miller 2011; t with the smaller count less one degrees of freedom, and "
    "fewer where clusters are of very unequal sizes).": ("three clusters", "clusters without examples"),
    " A verdict and its p use the wider of the two.": ("five clusters", "three clusters"),
    "Supported: at a planned look a one-sided t-test against {} had p ≤ {} after correction for the looks "
    "and, by Holm, for both sides of {}{}; refuted: the same test from the other side. {}What a look has decided "
    "stays; what the last look has not decided is inconclusive. What is not in this table is exploratory. "
    "Simultaneous intervals hold for all rows and looks together in 95 % of studies, repeated ones for all "
    "looks of their row. ": ("stopped at a look", "supported"),
    "The interval over seeds and data sets takes the data sets as a random sample of others (two crossed random "
    "factors; t with the smaller count less one degrees of freedom); the rest of the variance is what differs from "
    "data set to data set and seed to seed at once.": ("four data sets, declared", "five clusters"),
    "Planned before the first run: looks at {} seeds, at most {}, with {} spending (Lan and DeMets 1983). At "
    "a look the study stops when every hypothesis is decided. The last two columns say how small the p of a "
    "one-sided t-test must be to decide a hypothesis: while no other is decided, and when all others are "
    "that can be (Holm). ": ("stopped at a look", "supported"),
    "It stopped at the look at {} seeds. ": ("stopped at a look", "decided at the last look"),
    "{} of later seeds are in no table and in no claim. ": ("stopped at a look", "between looks"),
    "Repeated and simultaneous intervals and adjusted p values hold at all looks together, wherever the study "
    "stops. All others of this page are not corrected for looks, and a study that stops early overstates "
    "differences on average.": ("stopped at a look", "supported"),
    "d_z is the mean difference divided by its standard deviation over seeds. p against 0 asks whether there "
    "is any difference: two-sided, over seeds alone and not corrected, by t and by sign-flip, a check of how "
    "much the first owes to the normal distribution.": ("better", "judged better"),
    " Smallest possible: with so few pairs no differences have a smaller sign-flip p.": ("better", "open"),
    "p against the margin is that of the verdict: one-sided, from the interval that decides, corrected. A "
    "difference can be shown against 0 and not against the margin. ": ("supported margin", "supported"),
    "Shares of the variance of the difference over seeds and {}. What a seed changes includes its own tuning where "
    "every seed is tuned by itself.": ("five clusters", "one cluster"),
    "The study declares no hypothesis. Every arm is compared with its baseline in every metric: exploratory, "
    "with intervals that are not corrected for their number, and without verdicts. ": ("better", "supported"),
    "Where the variance comes from": ("five clusters", "one cluster"),
    "Δ is the difference to the baseline. What remains of a gain beside its control, in the last column, is "
    "what the control does not explain. Paired by seed{}; exploratory, unless a hypothesis above names it.": (
        "wide better",
        "better",
    ),
    ", with 95 % intervals over seeds, bold where they exclude 0": ("wide better", "wide better, one seed"),
    "; the intervals over seeds elsewhere say what other seeds would show, for these people": (
        "four people",
        "five clusters",
    ),
    "Here the spread is that of people: a difference is averaged over seeds for each person of the {} data, "
    "every person counts the same, and the interval is over persons. It is about other people of this kind, "
    "for these trained networks{}. It carries no verdict.": ("four people", "better"),
    "{}The same trained networks on data that no part of the study has seen; {}, Δ paired with the "
    "baseline, exploratory. {}": ("other data", "better"),
    "means over seeds ± 95 % interval": ("other data", "other data, one run"),
    "scores of one seed, without an interval": ("other data, one run", "other data"),
    "On other data: {}": ("other data", "better"),
    "Withdrawn after runs had finished, and still counted in the correction: {}.": ("withdrawn", "supported"),
    "Declared after runs had finished, so without a verdict: {}.": ("late", "supported"),
    "Seeds were added after the results at {} seeds could be seen. The study could have stopped there, so "
    "every p is multiplied by {} before Holm's correction (Bonferroni over looks).": ("looked", "supported"),
    "These intervals are over seeds alone: the study names no `cluster` of {} examples, so that they say "
    "nothing of other {} examples.": ("four people", "five clusters"),
    "By Holm's correction there is a verdict on {}, although the simultaneous interval does not show it: "
    "Holm's is the sharper of the two, and both keep 5 % for the family.": ("three hypotheses", "supported"),
    " and of the {} withdrawn": ("withdrawn", "supported"),
    "Supported: a one-sided t-test against {} has p ≤ {} after Holm's correction, over both sides of {}{}; "
    "refuted: the same test from the other side; otherwise inconclusive. {}There is no verdict below {} seeds. "
    "What is not in this table is exploratory. Simultaneous intervals hold for all rows together in 95 % of "
    "studies (Bonferroni); the other intervals are not corrected. ": ("supported", "better"),
    "“Not worse” is tested against minus the margin. ": ("not worse", "supported"),
    "“Equivalent” takes two one-sided tests, one against the margin and one against minus the margin, and the "
    "larger p. ": ("equivalent", "supported"),
    # report/sections_design.py
    "The main effect is the score with the part minus that without it, averaged over the arms with and "
    "without the other parts. An interaction of two parts is the effect of one with the other minus its "
    "effect without it.": ("factorial", "left out"),
    " The Shapley value is what the part adds, averaged over all orders in which the parts can come; the "
    "values sum to the whole gain, all parts minus none. Shares are shown where the interval of the whole "
    "gain excludes 0.": ("factorial", "a fraction of resolution 4"),
    " The study has {} of the {} arms of the factorial, a fraction of resolution {}: {}.": (
        "a fraction of resolution 4",
        "factorial",
    ),
    "main effects share their numbers with interactions of two parts, as the table says, and are the parts' "
    "own only as far as those are 0": ("a fraction of resolution 3", "a fraction of resolution 4"),
    "main effects share their numbers with interactions of three parts or more, and not with those of two; "
    "those of two parts share theirs with one another where the table has a sum": (
        "a fraction of resolution 4",
        "a fraction of resolution 6",
    ),
    "main effects and interactions of two parts do not share their numbers with one another, but with "
    "interactions of three parts or more": ("a fraction of resolution 6", "a fraction of resolution 4"),
    " A score is the mean over all data sets, every one with the same weight.": ("design on data sets", "added"),
    " A Shapley value would take every arm of the factorial.": ("a fraction of resolution 4", "factorial"),
    "{}: what each part does, every seed a dot; filled where the interval excludes 0": ("factorial", "better"),
    "Shares its number with": ("a fraction of resolution 3", "a fraction of resolution 4"),
    "The effect is the full design minus the same design without the part.": ("left out", "added"),
    "The effect is the bare design with the part minus the bare design.": ("added", "left out"),
    " Differences are paired by seed, with 95 % intervals over seeds, each by itself, bold where it excludes "
    "0; p is adjusted by Holm over all effects of the metric in this section": ("added", "factorial, one seed"),
    " but the Shapley values": ("factorial", "added"),
    " Differences are of one seed, without an interval.": ("factorial, one seed", "factorial"),
    "What each part does": ("added", "better"),
    "{}: what each part does": ("added", "better"),
    "Share of the gain": ("factorial", "left out"),
    "; the whole gain is {}": ("factorial", "left out"),
    # analysis/fraction.py
    "main effects and interactions of two parts share their numbers with interactions of three parts or more alone": (
        "planned fraction of resolution 6",
        "planned fraction of resolution 4",
    ),
    "the factorial is a fraction of resolution {}, {} of {} arms: {}.": (
        "planned fraction of resolution 3",
        "factorial",
    ),
    "main effects share their numbers with no interaction of two parts": (
        "planned fraction of resolution 4",
        "planned fraction of resolution 3",
    ),
    "main effects share their numbers with interactions of two parts ({})": (
        "planned fraction of resolution 3",
        "planned fraction of resolution 4",
    ),
    "of some interactions of two parts only the sum can be told ({})": (
        "planned fraction of resolution 4",
        "planned fraction of resolution 6",
    ),
    # report/sections_origin.py
    "{}, this budget of a run": ("command", "toy"),
    "No difference shown is not the same as no difference.": ("better", "judged better"),
    "ablate run --rerun failed": ("toy with gaps", "toy"),
    " does missing runs; ": ("toy with gaps", "toy"),
    " does failed ones again.": ("toy with gaps", "toy"),
    "The adopted table has no score of them.": ("adopted with a gap", "adopted"),
    "These runs are finished, but not of what the study asks for now. They are in no table and no claim. What "
    "changed since they were made:": ("outdated", "better"),
    "its space and its budget": ("redrawn and tuned per seed", "tuned per seed"),
    "its validation set, space and budget": ("tuned per seed", "tuned per arm"),
    "Tuning is repeated with every seed. What stays the same is {}.": ("tuned per seed", "tuned per arm"),
    "The conclusions hold for {} and this data. Settings that no arm tuned are a condition of the result, not "
    "part of it.": ("better", "judged better"),
    "Runs of one arm were not made alike. {}.": ("mixed", "better"),
    "What this does not say": ("better", "judged better"),
    "One seed has no interval: what another seed or {} would give is not known.": ("one seed", "three seeds"),
    "The intervals over seeds cover what changes from seed to seed.": ("better", "one seed"),
    "{} They do not cover {}.": ("better", "five clusters"),
    "Those over seeds and clusters also cover other values of {} like these.": (
        "five clusters",
        "four data sets, declared",
    ),
    "Those over seeds and data sets also cover other data sets, as far as these are like a random sample of them.": (
        "four data sets, declared",
        "five clusters",
    ),
    "{} Nothing covers other {} than the data has.": ("five clusters", "three clusters"),
    "cameras, recordings or conditions": ("five clusters", "four data sets, declared"),
    "these tuned settings": ("tuned per arm", "tuned per seed"),
    "this tuning budget and space": ("tuned per seed", "tuned per arm"),
    "{}, this training length": ("toy", "command"),
    "the choice of test examples: other people, cameras or recordings can give other numbers": (
        "four people",
        "better",
    ),
    "the choice of {} examples: others can give other numbers": ("nobody named", "better"),
    "the choice of data: other data can give other numbers": ("better", "four people"),
    " every measured time": ("toy", "better"),
    "Where it comes from": ("better", "judged better"),
    "To do it again, and to write this page again from the store:": ("better", "judged better"),
    "DATA is the folder with the study's data files.": ("data in a folder", "better"),
    " has every score": ("better", "judged better"),
    "source_digest is that of the training loop and of an arm's model, data and loss code: arms with other "
    "components have another.": ("toy", "command"),
    "source_digest is that of the files below the study's folder that match ": ("command", "function"),
    "; other code of the command is not in it.": ("command", "function"),
    "source_digest is that of the function ": ("function", "command"),
    " and of the code that it imports.": ("function", "command"),
    "Digest of its hypotheses: ": ("toy", "better"),
    # report/sections_results.py
    "Trials that did badly were ended early, by the same rule for every arm. They have no value and are not "
    "chosen; epochs and time are what was used, so that arms may differ in them.": (
        "tuned with a pruned trial",
        "tuned with a pruner",
    ),
    " These intervals are over seeds alone, also where a verdict is over seeds and {}: what is better here is better "
    "on these {}.": ("five clusters and a control", "wide better"),
    "FLOPs are theoretical: operations the counter does not know count as zero.": ("toy", "better"),
    "Every arm was allotted the same {} and space. What each ran with:": ("tuned per arm", "tuned per seed"),
    "Every seed of every arm has a tuning of its own, with the same {} and space; the numbers are sums over "
    "seeds. What was chosen, from the lowest to the highest over seeds:": ("tuned per seed", "tuned per arm"),
    "No trial has finished yet.": ("not tuned yet", "tuned per arm"),
    "This study is untuned.": ("better", "tuned per arm"),
    "Budget and tuned settings": ("better", "adopted"),
    "Scores over the {}": ("better", "judged better"),
    "epochs of training": ("toy", "command"),
    "epochs or steps of a run": ("command", "better"),
    "Mean over seeds; the band reaches from the lowest to the highest seed.": ("better", "one seed"),
    "{}; Δ is the paired difference to the baseline at the same level.": ("along better", "better"),
    "Predicted against true {}": ("toy of five arms", "toy"),
    "True and predicted {}": ("better", "judged better"),
    "Shares of the {}, means over seeds ± 95 % interval; the picture has all seeds together.": (
        "few examples",
        "few examples, one seed",
    ),
    "Shares of the {}, of one seed.": ("few examples, one seed", "few examples"),
    "How tuning went": ("tuned per arm", "better"),
    "Every trial's score on validation, and the best so far": ("tuned per arm", "better"),
    "How settings and score went together": ("tuned per arm", "better"),
    "Of each arm's first finished seed. Median and worst are by the study's first metric; examples without "
    "these words are chosen by their place in the {} split, not by how well an arm does.": ("better", "judged better"),
    "{} examples with true and predicted values": ("better", "judged better"),
    "The pictures show {}; the tables have every arm. ": ("toy of five arms", "toy"),
    "{}Bands and ± are 95 % intervals over seeds; a band that reaches past the frame is cut. Δ is the paired "
    "difference to {}. These tables look for where a difference comes from; their intervals are not corrected "
    "for their number.": ("few examples", "few examples, one seed"),
    "{}{}; Δ is the difference to {} with the same seed.": ("few examples, one seed", "few examples"),
    # report/tables_claims.py
    "Difference [{}95 % interval over seeds]": ("better", "judged better"),
    "Of all seeds": ("stopped at a look", "supported"),
    "Of the 5 % spent": ("stopped at a look", "supported"),
    "p for the first": ("stopped at a look", "supported"),
    "p for the last": ("stopped at a look", "supported"),
    "[over seeds and {}]": ("four data sets, declared", "supported"),
    "p against 0 (sign-flip)": ("better", "judged better"),
    "Seeds (with tuning)": ("five clusters", "one cluster"),
    "more examples of each cluster": ("examples vary", "five clusters"),
    "more seeds or more data sets": ("four data sets, both at once", "four data sets, declared"),
    "Would shrink it most": ("five clusters", "one cluster"),
    "Difference [95 % interval over people]": ("four people", "better"),
    # report/tables_figures.py
    "Beyond the figure": ("few examples", "toy"),
    "Latency of one example": ("toy", "better"),
    "{} and cost: the table": ("better", "judged better"),
    "Best of the first half": ("tuned per arm", "better"),
    "Found in trial": ("tuned per arm", "better"),
    "Spearman's rank correlation between a setting and the score on validation, over an arm's finished trials: "
    "near 0 the score does not rise or fall steadily with the setting, near ±1 it does.": ("tuned per arm", "better"),
    " A positive one means that {} values did better.": ("tuned per arm", "better"),
    "{} One setting was tuned, so there is nothing to rank it against.": ("tuned per arm", "tuned in two settings"),
    " With few trials it is a hint, not a measurement.": ("tuned in two settings", "tuned per arm"),
    "{} No arm has {} finished trials with different values: nothing is ranked.": (
        "tuned in two settings",
        "tuned per arm",
    ),
    "{} at every level": ("along better", "better"),
    "fewer than {} trials": ("toy", "better"),
    # report/tables_results.py
    "What tuning used with every seed: the table": ("tuned per seed", "tuned per arm"),
    "FLOPs of one example": ("toy", "better"),
    "Budget of a tuning run": ("command", "better"),
    "Examples seen tuning": ("tuned per arm", "better"),
    "Budget of a run": ("command", "better"),
    "Examples seen a run": ("toy", "better"),
    "Training time a run": ("better", "adopted"),
    # report/terminal.py
    "Failed or missing runs, which count as no number: {}": ("toy with gaps", "toy"),
    "Mean ± 95 % interval over seeds.": ("printed", "printed, one seed"),
    "Of one seed.": ("printed, one seed", "printed"),
    "{} Δ: paired difference to {}. Exploratory. {}": ("printed", "other data"),
    "Too wide for this terminal: {}": ("printed", "other data"),
    "{} data, one seed. Δ: difference to {}.": ("better and worse, one seed", "better and worse"),
    "{} data, mean ± 95 % interval over seeds. Δ: paired difference to {} [95 % interval].": (
        "better and worse",
        "better",
    ),
    # report/terminal_compare.py
    "{} of one pair's variance is added to that of the mean": ("redrawn", "better"),
    "seeds share training examples: {} ({})": ("redrawn", "better"),
    "{} (mean difference over its standard deviation)": ("better", "one seed"),
    "t {}{}; two-sided against 0, over seeds, not corrected": ("better", "one seed"),
    "exact; no {} pairs can have a smaller one": ("better", "open"),
    "by its normal approximation": ("forty seeds", "better"),
    "interval over {} people, not over seeds; every person counts the same": ("twelve people", "four people"),
    "exploratory: no hypothesis of the study asks for this comparison": ("better", "supported"),
    # commands/judge.py
    " by more than {}": ("judged by a margin", "judged better"),
    "{}: that {} is better than {}{} in {} ({} is better)": ("judged better", "better"),
    "declared     {}: nothing here shows that the claim came before the results": ("judged better", "better"),
    # analysis/across.py
    "; it is {}": ("three data sets", "baseline on data sets"),
    "; the interval includes 0 on {}": ("one of two data sets", "three data sets"),
    "every data set": ("answer on three data sets", "answer on one of two data sets"),
    "in {}, {} minus {} over these data sets is {}": ("three data sets", "baseline on data sets"),
    ", too few to speak of others": ("three data sets", "four data sets"),
    "Exploratory, every interval by itself: ": ("three data sets", "better"),
    "on {} there is nothing to compare": ("baseline on data sets", "three data sets"),
    # analysis/same_question.py
    " The p over {} is {} (one-sided, for the hypothesis; Stouffer's z weighted by the root of the pairs, "
    "over seeds alone and not corrected).": ("asked before", "asked before, with looks"),
    "The same question in another study of the store: {}.{}": ("asked before", "supported"),
    ", leaving out {} that {} has too": ("asked before, some seeds", "asked before"),
    "this study or one named before it": ("asked twice before, the same seeds", "asked before, some seeds"),
    "no pair of runs": ("asked before, the same seeds", "asked before, some seeds"),
    " No p over all is told, for one of them stops by what its runs show.": (
        "asked before, with looks",
        "asked before, the same seeds and looks",
    ),
    # analysis/stopping.py
    "looks are planned at {} seeds ({} spending).": ("progress: not yet", "progress: no looks"),
    "look at {} seeds: {} of {} decided": ("progress: goes on", "progress: not yet"),
    "{}; the study goes on to {} seeds.": ("progress: goes on", "progress: stopped"),
    "the study stops, {} of {} seeds are not needed": ("progress: stopped", "progress: the last"),
    "it was the last": ("progress: the last", "progress: stopped"),
    # report/sections_datasets.py
    "Δ is the difference to {} on the same data set, paired by seed": ("three data sets", "along better"),
    "Over these data sets: the mean of the differences, every data set with the same weight": (
        "three data sets, one seed",
        "along better",
    ),
    ", with its 95 % interval over seeds, bold where it excludes 0": ("three data sets", "three data sets, one seed"),
    ", with the interval over seeds; it holds for these data sets. Over seeds and data sets: the same mean, clustered "
    "by both, for other data sets like these": ("three data sets", "three data sets, one seed"),
    "; with fewer than 4 data sets it is shown and carries no verdict": ("three data sets", "four data sets"),
    "Across data sets": ("three data sets", "along better"),
    "{} on every data set": ("three data sets", "along better"),
    "Δ over these data sets": ("three data sets", "baseline on data sets"),
    "Over seeds and data sets": ("three data sets", "along better"),
    "{}: differences on every data set": ("three data sets", "baseline on data sets"),
}
