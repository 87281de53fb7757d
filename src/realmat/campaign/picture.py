"""A campaign as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realmat.plots.style import LAYER_COLOURS, figure, ink, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from realmat.campaign.campaign import Campaign

LAYERS = {"theory": "theory", "characterise": "material", "specimen": "material"}
LAYERS |= dict.fromkeys(("repeat", "property", "measure"), "observation")
_OTHER = "theory"  # one theory of a consensus is an action of its own name


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
        at.append(at[-1] + float(step["cost"]))
        for name, total in layers.items():
            pairs = zip(step["action"], step["costs"], strict=True)
            total.append(total[-1] + sum(float(cost) for kind, cost in pairs if LAYERS.get(kind, _OTHER) == name))
    layers = {name: total for name, total in layers.items() if total[-1] > 0}
    with theme(dark):
        made = figure(4.2)
        above, below = made.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        above.plot(spent, u, "o-", color=ink(above), ms=4, lw=1.5)
        if campaign.until is not None:
            above.axhline(campaign.until, color=ink(above), lw=0.8, ls="--", label="enough")
            above.legend()
        above.set_ylim(bottom=0)
        above.set_ylabel(f"Uncertainty of\n{campaign.aim.said}" + (f" ({campaign.unit})" if campaign.unit else ""))
        below.set_ylabel("Spent on")
        below.set_xlabel("Cost")
        if layers:
            below.stackplot(at, *layers.values(), labels=list(layers), colors=[LAYER_COLOURS[name] for name in layers])
            below.legend(loc="upper left")
    return made
