"""Pools too large to sort: ranks, coordinates and cuts from tables of counts."""
