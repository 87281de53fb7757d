"""Measure, update, decide: a campaign asks for what tells most per cost, takes the values in, and says when to stop.

`campaign` is the loop, `targets` what it is for, `actions` turns choices into rows to be filled, `record` keeps every step on disk.
"""

from realmat.campaign.campaign import Campaign
from realmat.campaign.targets import Best, Parameter, Passing, Predict

__all__ = ["Best", "Campaign", "Parameter", "Passing", "Predict"]
