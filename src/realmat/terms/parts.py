"""Parts of a term that say what its variables are: latent states, biases, what follows from psi, and errors that rows have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy import sparse

if TYPE_CHECKING:
    from realmat.terms.term import Function, Noise


@dataclass(frozen=True)
class Together:
    """What the errors of measured rows have in common, a ``loading`` of independent normal coefficients, and what is each row's own.

    Attributes
    ----------
    block : str
        The coefficients.
    loading : csr matrix, shape (rows, block size)
        On the scale of the link.
    noise : Noise
        What is each row's own.
    """

    block: str
    loading: sparse.csr_matrix
    noise: Noise


@dataclass(frozen=True)
class Latent:
    """A latent state by what it is of, so that several properties can share it.

    Attributes
    ----------
    name : str
        The posterior variable of the states.
    of : tuple
        Column, level and transform (and whether repeated values are one): states of which these agree are one state.
    told : mapping of str to value
        Whatever else its declaration says (u, below, by); it must agree too.
    variables : tuple of str
        Names of its hyperparameters, blocks of coefficients and measured rows.
    """

    name: str
    of: tuple[Any, ...]
    told: Mapping[str, Any]
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Bias:
    """A part of the observation layer beside the noise: what budgets call it, its blocks of coefficients, and the sd of a new one."""

    name: str
    blocks: tuple[str, ...]
    sd: Function


@dataclass(frozen=True)
class Derived:
    """A variable that the posterior holds though no engine draws it, because it follows from psi: a correlation matrix.

    Attributes
    ----------
    name : str
    dims : tuple of str
    coords : tuple of array
        One array for each of `dims`.
    value : Function
        Of the shape that `coords` have.
    """

    name: str
    dims: tuple[str, ...]
    coords: tuple[Any, ...]
    value: Function
