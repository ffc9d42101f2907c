"""The plan, the replicates, and their analysis."""
