"""Power flow and short circuit behind small protocols: the only room that solves."""
