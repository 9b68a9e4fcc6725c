"""Any table of results as one row per (seed, scorer, sparsity), in one unit; all that was assumed is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sics_analysis.results import ACCURACY, DataCheck, Level, Metric
from sics_analysis.rows.reading.asked import NOTHING, Asked
from sics_analysis.rows.reading.cells import Numbers, check, filled, numbers, readable, refused, seed_label, text_of
from sics_analysis.rows.reading.counts import whole_counts
from sics_analysis.rows.reading.exported import SAID, VALUE, example_of, metric_of_rows, says_its_metric
from sics_analysis.rows.reading.ignored import ignored_checks
from sics_analysis.rows.reading.names import (
    OPTIONAL,
    OWN,
    Named,
    TableError,
    check_column,
    is_accuracy_name,
    is_lower_better_name,
    is_rate_name,
    is_sparsity_like,
    is_turned_name,
    key,
    missing_columns,
    name_columns,
    nearest,
    shown,
)
from sics_analysis.rows.reading.searches import search_columns
from sics_analysis.rows.reading.sparsities import ONE_POOL, one_dense, scattered, sparsities, to_targets
from sics_analysis.rows.reading.unread import refuse_two_headings, told_layout
from sics_analysis.rows.reading.wide import to_long

_NAME_OF_METRIC = ("metric", "metric_name", "measure", "measurement")
_VALUE_OF_METRIC = ("value", "score", "metric_value", "result")


@dataclass(frozen=True, slots=True, eq=False)
class Tidy:
    """A table under the project's names, `accuracy` holding the metric's values in their own unit and direction.

    The index of `frame` is that of the rows it came from. `assumed` is a sentence each; `checks` are about columns that
    `frame` has no more.
    """

    frame: pd.DataFrame
    metric: Metric
    assumed: tuple[str, ...]
    checks: tuple[DataCheck, ...]


def tidy(frame: pd.DataFrame, asked: Asked = NOTHING) -> Tidy:
    """Find out what a table says, and refuse what could be said of it in two ways.

    Raises
    ------
    TableError
        In one line: what is missing or ambiguous and which option settles it, or the cell that is not accepted.

    Examples
    --------
    >>> table = pd.DataFrame({"run": [0, 1], "method": "wanda", "density": [0.3, 0.3], "val_acc": ["93.1%", "92.8%"]})
    >>> found = tidy(table)
    >>> found.frame.values.tolist()
    [[0, 'wanda', 0.7, 0.931], [1, 'wanda', 0.7, 0.928]]
    >>> found.assumed[-1]
    "'val_acc' is in percent"
    """
    refuse_two_headings(frame)
    raw = frame.reset_index(drop=True)
    raw = raw.loc[:, [bool(str(name).strip()) and not str(name).startswith("Unnamed: ") for name in raw.columns]]
    raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
    raw, assumed = _chosen_rows(raw, asked)
    raw, asked, said = _own_metric(raw, asked)
    raw, metric, more = _metric_rows(raw, asked)
    assumed += more
    single = {role: column for role, column in asked.columns.items() if isinstance(column, str)}
    named = name_columns(list(raw.columns), single, metric)
    _refuse_doubled(raw, named)
    raw, named, more = to_long(raw, named, asked, metric)
    assumed += [*named.assumed, *more]
    _refuse_unknown(raw, named, asked, metric)
    rows = pd.DataFrame(index=raw.index)
    seeds = filled(raw[named.column["seed"]], "seed", "a number or a name")
    codes, kinds = pd.factorize(seeds)
    labels = np.empty(len(kinds), dtype=object)
    labels[:] = [seed_label(value) for value in kinds]
    rows["seed"] = pd.Series(labels[codes], index=raw.index, dtype=object)
    rows["scorer"] = filled(raw[named.column["scorer"]], "scorer", "a name")
    comma = False
    if "sparsity" in named.column:
        rows["sparsity"], more, comma = sparsities(raw[named.column["sparsity"]], named.column["sparsity"], rows["scorer"])
        assumed += more
    else:
        rows["sparsity"] = ONE_POOL
        assumed.append(f"no column says the sparsity{_maybe_sparsity(raw, named)}: all rows are one pool")
    column = named.column["metric"]
    if "file" in raw.columns:
        rows["file"] = raw["file"]
    if said is None:
        read, measured, more = _values(raw[column], asked.metric or column, asked, rows)
    else:
        read, measured, more = numbers(raw[column], VALUE, "a number", empty=True), said, []
    if comma and read.parted is not None:
        accepted = "a number, without a point that may part thousands, as decimals follow a comma in this table"
        raise refused(raw[column], read.parted, asked.metric or column, accepted)
    rows["accuracy"] = read.values
    assumed += more
    assumed += [f"{', '.join(map(repr, read.words))} in {column!r} is an empty cell: no result"] if read.words else []
    assumed += ["decimals follow a comma"] if comma or read.comma else []
    for name in OPTIONAL:
        if name in named.column:
            rows[name] = _optional(raw[named.column[name]], name, rows["accuracy"], measured)
    searched = search_columns(raw, rows["scorer"], column, measured, percent=read.percent and measured.is_accuracy)
    if said is None and not measured.is_accuracy:
        rows = rows.drop(columns=[name for name in _OF_BITS if name in rows.columns])
    # Achieved sparsities are grouped before it is asked what varies within one.
    step = asked.sparsity_step
    pools = to_targets(rows)[0] if step is None else (rows["sparsity"] / step).round()
    checks = ignored_checks(raw, rows.assign(sparsity=pools), {*named.column.values(), *asked.repeats, *searched})
    if asked.repeats:  # what a search reached says nothing of a mean
        searched = {}
        checks += _other_repeats(rows, raw, asked.repeats)
        rows, more = _averaged(rows, raw, asked.repeats)
        assumed += more
    _refuse_repeated(rows, raw, named)
    rows["sparsity"], more = to_targets(rows, asked.sparsity_step)
    assumed += [*more, *scattered(rows, raw, named)]
    rows, more = one_dense(rows)
    assumed += more
    if measured == ACCURACY and "n" in rows and "correct" not in rows:
        counts = whole_counts(rows["accuracy"], rows["n"])
        if counts is not None:
            rows["correct"] = counts
            assumed.append("accuracy times 'n' is whole in every row: these are the counts of correct examples")
    if measured.is_accuracy and {"correct", "n"} <= set(rows.columns):
        counted = (rows["correct"].notna() & rows["n"].notna())[rows["accuracy"].notna()]
        if counted.any() and not counted.all():
            assumed.append("of some rows alone the counts of correct examples are known: all are compared as fractions")
    assumed += asked.told_margin(measured)
    rows = rows[[name for name in (*OWN.values(), *OPTIONAL) if name in rows.columns]]
    rows = rows.assign(**{name: values.reindex(rows.index) for name, values in searched.items()})
    return Tidy(rows, replace(measured, example=example_of(map(str, frame.columns))), tuple(dict.fromkeys(assumed)), checks)


_OF_BITS = ("correct", "n", "bits", "examples")  # say something of accuracies alone, unless the rows say their metric


def _own_metric(raw: pd.DataFrame, asked: Asked) -> tuple[pd.DataFrame, Asked, Metric | None]:
    """The table with its own metric's values as `accuracy`, where it says which they are and no other is asked for."""
    if not says_its_metric(raw.columns) or "metric" in asked.columns:
        return raw, asked, None
    if asked.metric is not None and asked.metric not in set(text_of(raw["metric"])):
        return raw.drop(columns=[*SAID, VALUE]), asked, None
    if asked.metric is not None:
        raw = raw[text_of(raw["metric"]) == asked.metric]
    said = metric_of_rows(raw)
    asked.refuse_other(said, "what the rows say of themselves")
    own = OWN["metric"]
    raw = raw.drop(columns=[*SAID, own], errors="ignore").rename(columns={VALUE: own})
    return raw, replace(asked, metric=None), said


def _chosen_rows(raw: pd.DataFrame, asked: Asked) -> tuple[pd.DataFrame, list[str]]:
    assumed = []
    for column, value in (asked.where or {}).items():
        check_column(f"--where {column}={value}", column, raw.columns)
        text = text_of(raw[column])
        keep = text == value
        if not keep.any():
            there = sorted(set(text))
            raise TableError(f"--where {column}={value}: no row has it, but {', '.join(there[:6])}{nearest(value, there)}")
        assumed.append(f"rows where {column} is {value}: {int(keep.sum())} of {len(raw)}")
        raw = raw[keep]
    return raw, assumed


def _maybe_sparsity(raw: pd.DataFrame, named: Named) -> str:
    """The way to say which column is the sparsity, where the name of one is like it; refused where it varies."""
    used = set(named.column.values())
    like = [name for name in raw.columns if name not in used and is_sparsity_like(name) and readable(raw[name])]
    if not like:
        return ""
    if raw[like[0]].astype(str).nunique() > 1:
        raise TableError(f"column {like[0]!r} may be the sparsity, and varies: give --columns sparsity={like[0]}, or --where")
    return f" (--columns sparsity={like[0]} says that it is)"


def _metric_rows(raw: pd.DataFrame, asked: Asked) -> tuple[pd.DataFrame, str | None, list[str]]:
    """The rows of one metric, where a table has a row a metric; else the table and `--metric` as they are."""
    names = [name for name in raw.columns if key(name) in _NAME_OF_METRIC]
    values = [name for name in raw.columns if key(name) in _VALUE_OF_METRIC]
    if len(names) != 1 or len(values) != 1 or "metric" in asked.columns:
        return raw, asked.metric, []
    text = text_of(raw[names[0]])
    there = sorted(set(text))
    wanted = asked.metric
    if wanted is None:
        known = [name for name in there if is_accuracy_name(name)]
        if len(known) != 1:
            raise TableError(f"column {names[0]!r} names several metrics ({', '.join(there[:8])}): give --metric NAME")
        wanted = known[0]
    elif wanted not in there:
        return raw, asked.metric, []
    chosen = raw[text == wanted].rename(columns={values[0]: wanted}).drop(columns=names)
    return chosen, wanted, [f"rows whose {names[0]} is {wanted!r}: {len(chosen)} of {len(raw)}"]


def _refuse_doubled(raw: pd.DataFrame, named: Named) -> None:
    columns = list(raw.columns)
    twice = sorted({name for name in named.column.values() if columns.count(name) > 1})
    if twice:
        raise TableError(f"column {', '.join(twice)} is there twice")
    roles: dict[str, str] = {}
    for role, column in named.column.items():
        if column in roles:
            raise TableError(f"--columns: {roles[column]} and {role} are both {column!r}: give each a column of its own")
        roles[column] = role


def _refuse_unknown(raw: pd.DataFrame, named: Named, asked: Asked, metric: str | None) -> None:
    columns = list(raw.columns)
    if metric is not None and "metric" not in named.column:
        raise TableError(f"--metric {metric}: there is no such column, but {shown(columns)}{nearest(metric, columns)}")
    missing = [role for role in ("seed", "scorer", "metric") if role not in named.column]
    if missing:
        raise missing_columns(missing, columns, told_layout(columns))
    if not len(raw):
        raise TableError("has a heading and no rows")
    for name in asked.repeats:
        check_column(f"--repeats {name}", name, columns)


def _values(column: pd.Series, name: str, asked: Asked, rows: pd.DataFrame) -> tuple[Numbers, Metric, list[str]]:
    """The metric's values (fractions where it is a share), what it is, and what was assumed of it."""
    wide = key(name) in ("value", "")
    accuracy = wide or is_accuracy_name(name)
    unit = None if asked.unit is None else asked.share or asked.unit.strip()
    share = (accuracy and unit is None) or asked.share is not None
    lower, assumed = asked.lower_is_better, []
    if lower or (lower is not None and not accuracy):  # asked for, and to be seen by who reads the report alone
        assumed.append(f"{'less' if lower else 'more'} {name} is better, as asked")
    elif lower is None:
        lower = not accuracy and is_lower_better_name(name)
        if not accuracy and is_turned_name(name):
            raise TableError(
                f"--metric {name}: its name does not say whether more or less of it is better: give --higher-is-better or "
                f"--lower-is-better"
            )
        if not accuracy:
            better, option = ("less", "higher") if lower else ("more", "lower")
            assumed.append(f"{better} {name} is better (--{option}-is-better says otherwise)")
    if not share:
        read = numbers(column, name, "a number", empty=True)
        if unit is None and is_rate_name(name):
            _refuse_two_units(column, read.values, name, rows)
        return read, Metric(name, unit or name, 1.0, bool(lower)), assumed
    accepted = "a fraction from 0 to 1, or percent"
    read = numbers(column, name, accepted, bounded=True, empty=True)
    values = read.values
    check(column, values, (values >= 0) & (values <= 100), name, accepted)
    # Nothing was asked to lie below 1 % of a table in percent, but networks that collapse do.
    above, below = int((values > 1).sum()), int(((values > 0) & (values <= 1)).sum())
    percent = unit == "percent" or read.percent or "%" in name or (above > 0 and unit != "fraction")
    if percent:
        if below > above and unit != "percent" and not read.percent:
            place = int(np.flatnonzero(values > 1)[0])
            raise TableError(
                f"{name} = {column.iloc[place]!s} stands beside {below} values of at most 1: give --unit percent or "
                f"--unit fraction",
                row=int(column.index[place]),
            )
        if below and unit is None and not read.percent and "%" not in name:
            _refuse_two_units(column, values, name, rows)
        values = (values / 100).round(12)  # 93.1 % is the fraction .931, however it divides
        few = f", {below} of {above + below} at or below 1 % among them" if below and not read.percent and unit is None else ""
        assumed.append(f"{'values are' if wide else f'{name!r} is'} in percent{few}")
    else:
        check(column, values, values <= 1, name, "a fraction from 0 to 1")
        if wide:
            assumed.append("values are accuracies, as fractions")
    metric = ACCURACY if accuracy else Metric(name, f"{name} points", 100.0)
    return replace(read, values=values, percent=percent), replace(metric, lower_is_better=bool(lower)), assumed


def _refuse_two_units(column: pd.Series, values: NDArray[np.float64], name: str, rows: pd.DataFrame) -> None:
    """A scorer, seed or file all of whose values are at most 1 beside others in percent: it may be written as fractions."""
    if not (values > 1).any():
        return
    for role in ("scorer", "seed", *(["file"] if "file" in rows else [])):
        own = pd.Series(values).groupby(rows[role].to_numpy())
        highest, count = own.transform("max").to_numpy(), own.transform("count").to_numpy()
        small = np.flatnonzero((highest > 0) & (highest <= 1) & (count > 1))  # one network may have collapsed
        if len(small):
            place = int(small[0])
            of = rows[role].iloc[place]
            raise TableError(
                f"{name} is in percent, and {role} {of} nowhere above 1: give --unit percent, or write all of them in one unit",
                row=int(column.index[place]),
            )


def _optional(column: pd.Series, name: str, accuracy: pd.Series, metric: Metric) -> pd.Series:
    """A column of the project's own, under its own rules: what is not accepted is refused, what is empty is None."""
    if name in _WHOLE:
        least, most, accepted = _WHOLE[name]
        values = numbers(column, name, accepted).values
        inside = np.isnan(values) | ((values == np.floor(values)) & (values >= least) & (values <= most))
        check(column, values, inside, name, accepted)
        return pd.Series([None if np.isnan(v) else int(v) for v in values], index=column.index, dtype=object)
    if name == "jaccard":
        values = numbers(column, name, "a fraction from 0 to 1", bounded=True).values
        check(column, values, (values >= 0) & (values <= 1), name, "a fraction from 0 to 1")
        return pd.Series([None if np.isnan(v) else float(v) for v in values], index=column.index, dtype=object)
    text = text_of(column)
    return text.map(lambda value: value or None).astype(object)


_WHOLE: Mapping[str, tuple[float, float, str]] = {
    "kappa": (0, 2, "0, 1, 2 or nothing"),
    "correct": (0, np.inf, "a count"),
    "n": (1, np.inf, "a count of at least 1"),
}
_PLACE = ["seed", "scorer", "sparsity"]


def _averaged(rows: pd.DataFrame, raw: pd.DataFrame, repeats: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """One row a seed, the mean over its repeats; counts and bits of single repeats say nothing of a mean."""
    tags = [text_of(raw[name]).rename(f"repeat {i}") for i, name in enumerate(repeats)]
    keyed = pd.concat([rows[_PLACE], *tags], axis=1)
    again = keyed.duplicated()
    if again.any():
        _refuse_place(rows, keyed, again, " and repeat")
    grouped = rows.groupby(_PLACE, sort=False)
    sizes = grouped.size()
    first = rows[~rows.duplicated(_PLACE)].copy()
    means = grouped["accuracy"].mean().where(grouped["accuracy"].count() == sizes)  # a repeat without a result leaves none
    first["accuracy"] = [means[tuple(place)] for place in first[_PLACE].itertuples(index=False)]
    first = first.drop(columns=[name for name in (*_OF_BITS, "mask_hash", "jaccard", "flags") if name in first.columns])
    low, high = int(sizes.min()), int(sizes.max())
    many = str(low) if low == high else f"{low} to {high}"
    return first, [f"rows of one seed are averaged over {', '.join(repeats)} first: {many} each"]


def _other_repeats(rows: pd.DataFrame, raw: pd.DataFrame, repeats: Sequence[str]) -> tuple[DataCheck, ...]:
    """Scorers that lack repeats which others of their seed and S have: the mean of what is left may be of easier ones."""
    tag = pd.Series(list(zip(*(text_of(raw[name]) for name in repeats), strict=True)), index=rows.index)
    keyed = rows[_PLACE].assign(tag=tag)[(rows["sparsity"] > 0).to_numpy()].drop_duplicates()
    own = keyed.groupby(_PLACE)["tag"].size().rename("own").reset_index()
    at = own.groupby(["seed", "sparsity"])["own"]
    there = keyed.groupby(["seed", "sparsity"])["tag"].nunique().rename("there").reset_index()
    # Where no two scorers share a label, labels are of rows and not of repeats: numbers of them are compared alone.
    own["apart"], own["most"] = at.transform("sum"), at.transform("max")
    own = own.merge(there, on=["seed", "sparsity"])
    own["wanted"] = own["there"].where(own["there"] < own["apart"], own["most"])
    fewer = own[own["own"] < own["wanted"]]
    if fewer.empty:
        return ()
    first = fewer.iloc[0]
    many = f", and {len(fewer) - 1} more like it" if len(fewer) > 1 else ""
    text = (
        f"{first['scorer']} has {first['own']} of {first['wanted']} repeats ({', '.join(repeats)}) at seed {first['seed']}{many}"
        f": its mean is of those alone, and others may be harder"
    )
    return (DataCheck("missing", Level.OPEN, text),)  # of every line: it may be the reference


def _refuse_repeated(rows: pd.DataFrame, raw: pd.DataFrame, named: Named) -> None:
    again = rows.duplicated(_PLACE)
    if not again.any():
        return
    used = set(named.column.values())
    at = int(np.flatnonzero(again.to_numpy())[0])
    place = rows.iloc[at][_PLACE]
    same = (rows[_PLACE] == place).all(axis=1).to_numpy()
    free = [name for name in raw.columns if name not in used] if len(raw) == len(rows) else []
    apart = [name for name in free if raw[name][same].astype(str).nunique() > 1]
    words = [name for name in apart if not readable(raw[name])]
    hint = ""
    if words:
        hint = f": --where {words[0]}=VALUE keeps one, --repeats {words[0]} averages them"
    elif apart:
        hint = f": --repeats {apart[0]} averages them, --where {apart[0]}=VALUE keeps one"
    if hint:
        hint = f"; column {(words or apart)[0]!r} tells them apart{hint}"
    _refuse_place(rows, rows[_PLACE], again, hint)


def _refuse_place(rows: pd.DataFrame, keyed: pd.DataFrame, again: pd.Series, hint: str) -> None:
    at = int(np.flatnonzero(again.to_numpy())[0])
    same = (keyed == keyed.iloc[at]).all(axis=1).to_numpy()
    first = int(np.flatnonzero(same)[0])
    place = rows.iloc[at]
    where = "" if place["sparsity"] == ONE_POOL else f" at sparsity {place['sparsity']:g}"
    raise TableError(
        f"seed {place['seed']}, {place['scorer']!r}{where} is there already ({{other}}): one row per (seed, "
        f"scorer, sparsity){hint}",
        row=int(rows.index[at]),
        other=int(rows.index[first]),
    )
