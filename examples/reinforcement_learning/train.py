"""REINFORCE on a grid with wind and a cliff, with a softmax policy in a table. Needs NumPy alone.

python train.py --episodes 300 --baseline --logdir runs/1
"""

import argparse
import json
from pathlib import Path

import numpy as np

ROWS, COLUMNS, MAX_STEPS = 4, 8, 60
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


class Cliff:
    """Walk from the lower left corner to the lower right one. Who falls off the cliff between them starts again."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.row, self.column, self.steps = ROWS - 1, 0, 0
        return self.row * COLUMNS + self.column

    def step(self, action):
        if self.rng.random() < 0.1:  # wind
            action = self.rng.integers(len(MOVES))
        self.row = min(max(self.row + MOVES[action][0], 0), ROWS - 1)
        self.column = min(max(self.column + MOVES[action][1], 0), COLUMNS - 1)
        self.steps += 1
        at_goal = self.row == ROWS - 1 and self.column == COLUMNS - 1
        fallen = self.row == ROWS - 1 and 0 < self.column < COLUMNS - 1
        if fallen:
            self.row, self.column = ROWS - 1, 0
        reward = 0.0 if at_goal else -5.0 if fallen else -1.0
        return self.row * COLUMNS + self.column, reward, at_goal or self.steps == MAX_STEPS


def probabilities(preferences):
    weights = np.exp(preferences - preferences.max())
    return weights / weights.sum()


def episode(env, policy, rng):
    """States, actions and rewards of one episode."""
    states, actions, rewards, done, state = [], [], [], False, env.reset()
    while not done:
        action = rng.choice(len(MOVES), p=probabilities(policy[state]))
        states.append(state)
        actions.append(action)
        state, reward, done = env.step(action)
        rewards.append(reward)
    return states, actions, rewards


parser = argparse.ArgumentParser()
parser.add_argument("--episodes", type=int, default=2000)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--value-lr", type=float, default=0.1)
parser.add_argument("--baseline", action="store_true", help="subtract a learned value of the state")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--logdir", type=Path, default=Path("runs"))
args = parser.parse_args()

rng = np.random.default_rng([args.seed, 1])
env = Cliff([args.seed, 2])
policy, values = np.zeros((ROWS * COLUMNS, len(MOVES))), np.zeros(ROWS * COLUMNS)
args.logdir.mkdir(parents=True, exist_ok=True)
recent = []
for number in range(1, args.episodes + 1):
    states, actions, rewards = episode(env, policy, rng)
    returns = np.cumsum(rewards[::-1])[::-1]
    for state, action, value in zip(states, actions, returns):
        advantage = value - values[state] if args.baseline else value
        values[state] += args.value_lr * (value - values[state])
        gradient = -probabilities(policy[state])
        gradient[action] += 1
        policy[state] += args.lr * advantage * gradient
    recent.append(sum(rewards))
    if number % 50 == 0:
        with (args.logdir / "progress.jsonl").open("a") as log:
            log.write(json.dumps({"step": number, "return": float(np.mean(recent[-50:]))}) + "\n")

test_env, test_rng = Cliff(9999), np.random.default_rng(9999)  # the same episodes of wind for every seed
final = np.mean([sum(episode(test_env, policy, test_rng)[2]) for _ in range(200)])
print(f"final return={float(final)!r}")
