"""Joins the pure core to its effects: one tick, the loop around it, and recovery."""
