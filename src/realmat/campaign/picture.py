"""A campaign as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realmat.plots.style import LAYER_COLOURS, figure, ink, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from realmat.campaign.campaign import Campaign

LAYERS = {"theory": "theory", "characterise": "material", "specimen": "material", "repeat": "observation", "measure": "observation"}


def plot_campaign(campaign: Campaign, dark: bool = False) -> Figure:
    """Uncertainty of the target against cost, above what was spent on each layer.

    Parameters
    ----------
    campaign : Campaign
    dark : bool
        For a dark page.
    """
    history = campaign.history
    spent, u = [*history["spent"], campaign.spent], [*history["u"], campaign.uncertainty]
    layers: dict[str, list[float]] = {name: [0.0] for name in ("theory", "material", "observation")}
    at = [0.0]
    for step in campaign.record.of("tell"):
        share = float(step["cost"]) / max(len(step["action"]), 1)
        at.append(at[-1] + float(step["cost"]))
        for name, total in layers.items():
            total.append(total[-1] + share * sum(LAYERS.get(kind, "observation") == name for kind in step["action"]))
    with theme(dark):
        made = figure(4.2)
        above, below = made.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        above.plot(spent, u, "o-", color=ink(above), ms=4, lw=1.5)
        if campaign.until is not None:
            above.axhline(campaign.until, color=ink(above), lw=0.8, ls="--", label="enough")
            above.legend()
        above.set_ylim(bottom=0)
        above.set_ylabel(f"Uncertainty of\n{campaign.aim.said}")
        below.stackplot(at, *layers.values(), labels=list(layers), colors=[LAYER_COLOURS[name] for name in layers])
        below.set_ylabel("Spent on")
        below.set_xlabel("Cost")
        below.legend(loc="upper left")
    return made
