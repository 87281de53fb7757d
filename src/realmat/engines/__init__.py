"""Engines turn a problem into draws. They see terms, never components."""
