# SPDX-License-Identifier: MIT
"""Statistics of paired measurements: two things took turns, so that each run of
one has a neighbour of the other, and whatever slowed down the machine slowed
down both.  Only the ratios of neighbours count."""

import math
import statistics


def paired_ratios(above, below):
    """The ratio of each value to its neighbour."""
    return [a / b for a, b in zip(above, below)]


def paired_ratio(above, below):
    """The median of the ratios of neighbours."""
    return statistics.median(paired_ratios(above, below))


def spread(values):
    return {"median": statistics.median(values), "min": min(values),
            "max": max(values), "all": list(values)}


def rank_sums(count):
    """How many of the 2**count ways to give signs to the ranks 1 to count have
    each sum of positive ranks."""
    ways = [1]
    for rank in range(1, count + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    return ways


def ranked(values):
    """Ranks from 1, in the order of values; equal ones share the mean."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while (end + 1 < len(order) and
               values[order[end + 1]] == values[order[at]]):
            end += 1
        for i in order[at:end + 1]:
            ranks[i] = (at + end) / 2 + 1
        at = end + 1
    return ranks


def signed_rank_p(differences):
    """
    Wilcoxon's signed-rank test, exact and two-sided: how likely differences at
    least as one-sided as these are, if there is no real one.  It assumes
    nothing about how the noise is distributed but that it is the same for both.
    """
    differences = [d for d in differences if d != 0]
    if not differences:
        return 1.0
    ranks = ranked([abs(d) for d in differences])
    positive = sum(r for r, d in zip(ranks, differences) if d > 0)
    # Shared ranks may give half a rank: rounding outwards is on the safe side.
    low = math.ceil(min(positive, sum(ranks) - positive))
    ways = rank_sums(len(differences))
    return min(1.0, 2 * sum(ways[:low + 1]) / 2 ** len(differences))


def walsh_interval(differences, error=0.05):
    """
    The estimate that belongs to the test, and an interval that holds the true
    value but for the given chance: the median of the means of all pairs, and
    those means which the test would not refuse.
    """
    count = len(differences)
    means = sorted((differences[i] + differences[j]) / 2
                   for i in range(count) for j in range(i, count))
    ways = rank_sums(count)
    cut, total = 0, ways[0]
    while 2 * total / 2 ** count <= error:
        cut += 1
        total += ways[cut]
    # With too few pairs the test refuses nothing, and neither end is known.
    if cut == 0:
        return statistics.median(means), -math.inf, math.inf
    return statistics.median(means), means[cut - 1], means[-cut]


def holm(chances, error=0.05):
    """
    Which of several tests refuse chance, so that in all of them together it is
    wrong once with no more than the given probability.
    """
    refused = [False] * len(chances)
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    for place, i in enumerate(order):
        if chances[i] > error / (len(chances) - place):
            break
        refused[i] = True
    return refused


def runs_needed(tests, error=0.05):
    """The least number of pairs with which one of several tests can tell."""
    return math.ceil(math.log2(2 * tests / error))
