# SPDX-License-Identifier: MIT
"""Rows of the common table: how one is made of samples, printed and checked.

README.md has the meaning of every field."""

import math
import statistics

from bench_stats import paired_ratio, spread

# What is better, and how values are printed.
UNITS = {
    "seconds": ("less", "{:,.4f}"),
    "processor seconds": ("less", "{:,.3f}"),
    "microseconds": ("less", "{:,.2f}"),
    "MiB": ("less", "{:,.1f}"),
    "requests/s": ("more", "{:,.0f}"),
    "MiB/s": ("more", "{:,.0f}"),
}
COLUMNS = ("ours", "qemu", "raw")
FIELDS = frozenset((
    "program", "job", "unit", "ours", "qemu", "raw", "raw_is", "ratio",
    "ratio_raw", "wanted", "wanted_raw", "also", "reached", "peak_ours",
    "peak_qemu", "memory_kept", "cpu_ours", "cpu_qemu", "cpu_raw", "spread",
    "runs", "note"))
TEXTS = ("raw_is", "note")


def times_better(unit, ours, other):
    """How many times better ours are, by neighbours."""
    if UNITS[unit][0] == "more":
        return paired_ratio(ours, other)
    return paired_ratio(other, ours)


def highest(samples):
    peaks = [s.peak for s in samples if s.peak]
    return max(peaks) if peaks else None


def middle_cpu(samples):
    used = [s.cpu for s in samples if s.cpu is not None]
    return statistics.median(used) if used else None


def is_reached(row):
    """Whether all that is wanted of a row is there; None if nothing is."""
    pairs = [(row["ratio"], row["wanted"]), (row["ratio_raw"],
                                             row["wanted_raw"])]
    pairs += [(item["ratio"], item["wanted"]) for item in row["also"]]
    pairs = [(ratio, wanted) for ratio, wanted in pairs if wanted is not None]
    if not pairs:
        return None
    return all(ratio is not None and ratio >= wanted
               for ratio, wanted in pairs)


def memory_kept(row):
    if row["peak_ours"] is None or row["peak_qemu"] is None:
        return None
    return row["peak_ours"] <= row["peak_qemu"]


def make_row(program, job, unit, samples, *, wanted=None, wanted_raw=None,
             raw_is="", also=(), note=""):
    """
    A row of the samples of each column.

    also has further ratios, (to what, ratio, wanted), where more is better.
    """
    values = {who: [s.value for s in samples.get(who, ())] for who in COLUMNS}
    row = {"program": program, "job": job, "unit": unit, "raw_is": raw_is,
           "wanted": wanted, "wanted_raw": wanted_raw, "note": note,
           "runs": len(values["ours"]),
           "also": [{"to": to, "ratio": ratio, "wanted": least}
                    for to, ratio, least in also],
           "spread": {who: spread(v) for who, v in values.items() if v}}
    for who in COLUMNS:
        row[who] = statistics.median(values[who]) if values[who] else None
        row["cpu_" + who] = middle_cpu(samples.get(who, ()))
    for name, who in (("ratio", "qemu"), ("ratio_raw", "raw")):
        row[name] = (times_better(unit, values["ours"], values[who])
                     if values[who] else None)
    row["peak_ours"] = highest(samples["ours"])
    row["peak_qemu"] = highest(samples.get("qemu", ()))
    row["memory_kept"] = memory_kept(row)
    row["reached"] = is_reached(row)
    return row


# ------------------------------------------------------------------- checking


def is_number(value):
    return (isinstance(value, (int, float)) and not isinstance(value, bool) and
            math.isfinite(value) and value > 0)


def same(one, other):
    if one is None or other is None or isinstance(one, bool):
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def column_faults(row, who):
    """What is wrong with one column."""
    held = row["spread"].get(who)
    if held is None:
        if who == "ours":
            yield "there is no value of ours"
        elif row[who] is not None:
            yield f"{who} has a value and no samples"
        return
    if (not isinstance(held, dict) or
            set(held) != {"median", "min", "max", "all"} or
            not isinstance(held["all"], list)):
        yield f"the spread of {who} has not the fields it should"
        return
    if len(held["all"]) != row["runs"] or not row["runs"]:
        yield f"{who} has {len(held['all'])} samples, not {row['runs']}"
    elif not all(is_number(value) for value in held["all"]):
        yield f"{who} has a sample that is no positive number"
    elif spread(held["all"]) != held or not same(row[who], held["median"]):
        yield f"{who} is not the median of its samples"


def ratio_faults(row):
    values = {who: held["all"] for who, held in row["spread"].items()}
    for name, who in (("ratio", "qemu"), ("ratio_raw", "raw")):
        want = (times_better(row["unit"], values["ours"], values[who])
                if who in values else None)
        if not same(row[name], want):
            yield f"{name} is {row[name]}, its samples say {want}"
    for name in ("wanted", "wanted_raw"):
        if row[name] is not None and not is_number(row[name]):
            yield f"{name} is no number"
            return
    for item in row["also"]:
        if (set(item) != {"to", "ratio", "wanted"} or
                not is_number(item["ratio"])):
            yield "a further ratio is not one"
            return
    if row["reached"] is not is_reached(row):
        yield f"reached is {row['reached']}, not {is_reached(row)}"


def memory_faults(row):
    for name in ("peak_ours", "peak_qemu", "cpu_ours", "cpu_qemu", "cpu_raw"):
        value = row[name]
        # Processor time of something tiny is below what is counted.
        if value is not None and not (is_number(value) or value == 0 and
                                      name.startswith("cpu")):
            yield f"{name} is {value}"
            return
    if row["memory_kept"] is not memory_kept(row):
        yield f"memory_kept is {row['memory_kept']}"


def row_faults(row):
    """All that is wrong with a row, as text."""
    if "not_measured" in row:
        if (set(row) == {"program", "job", "not_measured"} and
                all(isinstance(text, str) and text for text in row.values())):
            return []
        return ["a row that was not measured says more or less than why"]
    if set(row) != FIELDS:
        return ["fields that are missing or too many: " +
                ", ".join(sorted(set(row) ^ FIELDS))]
    if row["unit"] not in UNITS:
        return [f"the unit is {row['unit']}"]
    if not all(isinstance(row[name], str) for name in TEXTS):
        return ["raw_is or note is no text"]
    if (row["raw"] is not None) != bool(row["raw_is"]):
        return ["raw_is says what the limit is, where there is one"]
    faults = [fault for who in COLUMNS for fault in column_faults(row, who)]
    if faults:
        return faults
    return list(ratio_faults(row)) + list(memory_faults(row))


def faults_of(rows):
    """What is wrong with the rows of a report, as text."""
    faults = []
    seen = set()
    for row in rows:
        name = f"{row.get('program')}: {row.get('job')}"
        if not row.get("program") or not row.get("job"):
            faults.append("a row without a name")
        elif name in seen:
            faults.append(f"{name}: twice")
        seen.add(name)
        faults += [f"{name}: {fault}" for fault in row_faults(row)]
    return faults


# ------------------------------------------------------------------- printing

HEADER = (f"{'job':44} {'ours':>10} {'qemu-img':>10} {'raw limit':>10} "
          f"{'unit':17} {'to QEMU (want)':>15} {'to raw (want)':>14} "
          f"{'reached':7}  {'MiB':>6} {'QEMU':>6}")


def value_text(row, who):
    return "" if row[who] is None else UNITS[row["unit"]][1].format(row[who])


def ratio_text(ratio, wanted):
    """A ratio, and in parentheses the one that is wanted."""
    if ratio is None:
        return "" if wanted is None else f"({wanted:g})"
    return f"{ratio:.2f}" + ("" if wanted is None else f" ({wanted:g})")


def peak_text(kib):
    return "" if kib is None else f"{kib / 1024:.1f}"


def row_text(row, judge=True):
    """The line of a row, and those of its further ratios."""
    if "not_measured" in row:
        return f"{row['job']:44} NOT MEASURED: {row['not_measured']}"
    verdict = {True: "yes", False: "NO", None: ""}[row["reached"]]
    line = (f"{row['job']:44} {value_text(row, 'ours'):>10} "
            f"{value_text(row, 'qemu'):>10} {value_text(row, 'raw'):>10} "
            f"{row['unit']:17} {ratio_text(row['ratio'], row['wanted']):>15} "
            f"{ratio_text(row['ratio_raw'], row['wanted_raw']):>14} "
            f"{verdict if judge else '':7}  {peak_text(row['peak_ours']):>6} "
            f"{peak_text(row['peak_qemu']):>6}")
    if row["memory_kept"] is False and judge:
        line += " more memory"
    for item in row["also"]:
        line += (f"\n{'':44}   {item['to']}: "
                 f"{ratio_text(item['ratio'], item['wanted'])}")
    if row["note"]:
        line += f"\n{'':44}   {row['note']}"
    return line.rstrip()
