"""How often a report blames a setting that does nothing, when the sampler chose the settings. Prints a table.

Knows nothing of networks: a trial's accuracy is made up of three settings out of twelve, and noise. The
trials are proposed by the samplers of a study, so that settings keep the company that they keep in a search.

    python benchmarks/effects.py
    python benchmarks/effects.py --trials 100 300 --rounds 40
"""

import argparse
import random
from collections import Counter
from collections.abc import Callable

import optuna

from search.records import State, TrialRecord
from search.report.one_study.effects import Effect, Setting, effects
from search.study.chance import drawn_at_random
from search.study.samplers import make_sampler

MATTER = ("a", "b", "c")
NAMES = (*MATTER, *"defghijkl")
SETTINGS = tuple(Setting(name=name, meaning=name, family=None, ordered=True, log=False) for name in NAMES)


def searched(
    sampler: str, seed: int, trials: int, noise: float
) -> tuple[list[TrialRecord], dict[int, float]]:
    """A study of that many trials, and their accuracies by number."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, seed))
    draw, records, scores = random.Random(seed), [], {}
    for _ in range(trials):
        trial = study.ask()
        at = {name: trial.suggest_float(name, 0, 1) for name in NAMES}
        score = 0.9 - sum((at[name] - 0.7) ** 2 for name in MATTER) / 10 + draw.gauss(0, noise)
        study.tell(trial, score)
        records.append(
            TrialRecord(
                trial_id=trial.number, number=trial.number, state=State.COMPLETE, value=score, params=at
            )
        )
        scores[trial.number] = score
    return records, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 300])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.01)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grades: dict[str, Callable[[Effect], bool]] = {
        "clear": lambda each: each.clear,
        "likely": lambda each: each.likely or each.shown,
        "shown": lambda each: each.shown,
    }
    print(f"| sampler | trials | idle: {' | '.join(grades)} | matter: {' | '.join(grades)} |")
    print("|---|--:|" + "--:|" * 2 * len(grades))
    for sampler in ("random", "tpe"):
        for n in arguments.trials:
            told: Counter[tuple[bool, str]] = Counter()
            for seed in range(arguments.rounds):
                records, scores = searched(sampler, seed, n, arguments.noise)
                chance = {number for number in range(n) if drawn_at_random(sampler, seed, number)}
                for each in effects(SETTINGS, records, scores, chance, family=None):
                    told.update(
                        (each.setting.name in MATTER, grade) for grade, is_it in grades.items() if is_it(each)
                    )
            of = {False: (len(NAMES) - len(MATTER)) * arguments.rounds, True: len(MATTER) * arguments.rounds}
            cells = [f"{told[matters, grade]} of {of[matters]}" for matters in of for grade in grades]
            print(f"| {sampler} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
