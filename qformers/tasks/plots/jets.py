"""Pictures of a training as PNG, in mplhep's style: ROC, confusion matrix, curves over epochs, bit widths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.files import replacing
from qformers.tasks.metrics import jets as metrics
from qformers.tasks.score_names import spell

CURVE_POINTS = 400  # points per ROC curve
LINES = ("-", "--")  # of a first and of a second model
LEGEND_LINE = 0.16  # a legend of more than the inverse of this many curves stands beside the axes
SIZE_INCHES, DPI = (8.0, 6.5), 110


@contextmanager
def canvas(path: Path, size: tuple[float, float] = SIZE_INCHES) -> Iterator[Any]:
    """Give one set of axes in mplhep's style and write the picture to `path` when the block ends well."""
    import matplotlib as mpl
    import mplhep
    from matplotlib.figure import Figure

    small = {"font.size": 15, "axes.labelsize": 16, "legend.fontsize": 12, "xtick.labelsize": 14, "ytick.labelsize": 14}
    with mpl.rc_context({**mplhep.style.ROOT, **small}):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        yield figure.add_subplot()
        with replacing(path) as temporary:
            figure.savefig(temporary)


def roc(models: Mapping[str, NDArray[Any]], labels: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Background rejection over signal efficiency, one curve per signal class (QCD as background for JetClass).

    Curves end where no background jet passes any more; a class without jets has none, and one class no picture.

    Args:
        models: name -> logits (n, classes); one alone may have no name, the curves of the second are dashed.
        labels: (n,).
        class_names: in label order.
        path: PNG to write.
    """
    import matplotlib as mpl
    from sklearn.metrics import auc, roc_curve

    jetclass = metrics.is_jetclass(class_names)
    background = list(class_names).index(metrics.BACKGROUND) if jetclass else None
    if len(class_names) < 2:  # nothing to reject
        return
    colours = mpl.color_sequences["tab10"]  # ten that differ; the style has six
    curves = [(one, index, name) for one in models for index, name in enumerate(class_names) if index != background]
    beside = len(curves) * LEGEND_LINE > 1.0
    with canvas(path, (SIZE_INCHES[0] + 3.0 * beside, SIZE_INCHES[1])) as axes:
        for model, index, name in curves:
            style = {"color": colours[index % len(colours)], "ls": LINES[list(models).index(model) % len(LINES)]}
            named = f"{model} {name}".strip()
            used = (labels == index) | (labels == background) if jetclass else np.ones(len(labels), bool)
            if len(np.unique(labels[used] == index)) < 2:  # one of both has no jet
                axes.plot([], [], label=f"{named}  (n/a)", **style)
                continue
            scores = metrics.discriminant(models[model][used], index, background)
            false_rate, true_rate, _ = roc_curve(labels[used] == index, scores)
            area = auc(false_rate, true_rate)
            thin = np.unique(np.linspace(0, len(true_rate) - 1, CURVE_POINTS * 5).astype(int))
            passing = thin[false_rate[thin] > 0]
            label = f"{named}  (AUC {area:.4f})"
            axes.plot(true_rate[passing], 1.0 / false_rate[passing], label=label, lw=1.8, **style)
        axes.set(xlabel="Signal efficiency", xlim=(0, 1), yscale="log", ylim=(1, None))
        axes.set_ylabel(f"Background rejection  1/$\\epsilon_B$ ({'QCD' if jetclass else 'all other classes'})")
        axes.grid(alpha=0.3, which="both", lw=0.5)
        if beside:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        else:
            axes.legend(loc="lower left")


def confusion(counts: NDArray[Any], class_names: Sequence[str], path: Path) -> None:
    """Share of each true class (row) per predicted class (column), in per cent.

    Args:
        counts: jets (classes, classes), true class by predicted class.
        class_names: in label order.
        path: PNG to write.
    """
    shares = 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with canvas(path, (7.5, 6.5)) as axes:
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 55 else "black"
            axes.text(column, row, f"{share:.1f}", ha="center", va="center", color=colour, fontsize=11)
        places = np.arange(len(class_names))
        axes.set_xticks(places, class_names, rotation=45 if len(class_names) > 6 else 0)
        axes.set_yticks(places, class_names)
        axes.tick_params(which="both", length=0)
        axes.set(xlabel="Predicted class", ylabel="True class")
        axes.figure.colorbar(picture, label="Share of true class [%]")


def training(history: Sequence[Mapping[str, Any]], score: str, ebops_target: float | None, path: Path) -> None:
    """Score and loss over epochs, and EBOPs with their target where there are any.

    Args:
        history: one mapping per epoch: epoch, loss, val_loss, the score (where it is watched) and val_<score>, ebops.
        score: its name, e.g. "accuracy".
        ebops_target: drawn as a line; None = no line.
        path: PNG to write.
    """
    epochs = [row["epoch"] for row in history]
    panels: list[tuple[str, tuple[tuple[str, str], ...]]]
    name = spell(score)
    panels = [(name[:1].upper() + name[1:], ((score, "train"), (f"val_{score}", "validation")))]
    panels += [("Loss", (("loss", "train, with all penalties"), ("val_loss", "validation, without")))]
    if any(row["ebops"] for row in history):
        panels += [("EBOPs", (("ebops", "calibrated model"),))]
    with canvas(path, (8.0, 3.2 * len(panels))) as first:
        grid = first.get_gridspec()
        figure = first.figure
        figure.delaxes(first)
        grid = figure.add_gridspec(len(panels), 1)
        for place, (title, curves) in enumerate(panels):
            axes = figure.add_subplot(grid[place])
            for (key, label), marker in zip(curves, "os", strict=False):
                if key in history[0]:
                    axes.plot(epochs, [row[key] for row in history], marker=marker, ms=4, label=label)
            if title == "EBOPs":
                axes.set_yscale("log")
                if ebops_target is not None:
                    axes.axhline(ebops_target, color="black", ls="--", lw=1, label=f"target {ebops_target:g}")
            axes.set_ylabel(title)
            axes.grid(alpha=0.3, lw=0.5)
            axes.legend()
        axes.set_xlabel("Epoch")


def bit_widths(widths: Mapping[str, Sequence[float]], path: Path) -> None:
    """Distribution of the bit widths in each layer: a row per layer, a column per width, shade and number = values.

    Args:
        widths: layer -> one width (bits, sign included) per weight or activation; a width of 0 is a value that is gone.
        path: PNG to write.

    Raises:
        ValueError: no layer has any width.
    """
    rows = {name: np.rint(np.ravel(values)).astype(int) for name, values in widths.items() if np.size(values)}
    if not rows:
        raise ValueError("bit widths of at least one layer are needed: is the model quantised? Received: none")
    highest = max(int(values.max()) for values in rows.values())
    counts = np.array([np.bincount(np.maximum(values, 0), minlength=highest + 1) for values in rows.values()])
    shares = counts / counts.sum(axis=1, keepdims=True)
    with canvas(path, (max(7.0, 0.62 * highest + 4.5), max(3.0, 0.36 * len(rows) + 1.6))) as axes:
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), number in np.ndenumerate(counts):
            if number:
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, str(number), ha="center", va="center", color=colour, fontsize=9)
        axes.set_yticks(np.arange(len(rows)), list(rows), fontsize=11)
        axes.set_xticks(np.arange(highest + 1))
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("Bits, sign included")
        axes.figure.colorbar(picture, label="Share of the layer's values")
