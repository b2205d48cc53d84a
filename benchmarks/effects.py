"""How often a report blames a setting that does nothing, when the sampler chose the settings. Prints a table.

Knows nothing of networks: a trial's accuracy is made up of three settings out of twelve, and noise. The
trials are proposed by the samplers of a study, so that settings keep the company that they keep in a search.

    python benchmarks/effects.py
    python benchmarks/effects.py --trials 100 300 --rounds 40
"""

import argparse
import random

import optuna

from search.records import State, TrialRecord
from search.report.effects import Setting, effects
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
    print("| sampler | trials | idle settings: clear | shown | settings that matter: clear | shown |")
    print("|---|--:|--:|--:|--:|--:|")
    for sampler in ("random", "tpe"):
        for n in arguments.trials:
            told = {(matters, kind): 0 for matters in (True, False) for kind in ("clear", "shown")}
            for seed in range(arguments.rounds):
                records, scores = searched(sampler, seed, n, arguments.noise)
                chance = {number for number in range(n) if drawn_at_random(sampler, seed, number)}
                for each in effects(SETTINGS, records, scores, chance, family=None):
                    told[each.setting.name in MATTER, "clear"] += each.clear
                    told[each.setting.name in MATTER, "shown"] += each.shown
            idle, real = (len(NAMES) - len(MATTER)) * arguments.rounds, len(MATTER) * arguments.rounds
            cells = [
                f"{told[matters, kind]} of {real if matters else idle}"
                for matters in (False, True)
                for kind in ("clear", "shown")
            ]
            print(f"| {sampler} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
