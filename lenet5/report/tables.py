"""Tables in GitHub's Markdown, which are readable in a terminal too."""

from tabulate import tabulate


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return the table, with the first column aligned to the left and the others to the right."""
    alignment = ["left"] + ["right"] * (len(header) - 1)
    table: str = tabulate(rows, header, tablefmt="pipe", colalign=alignment, disable_numparse=True)
    return table + "\n"


def p_value_text(value: float) -> str:
    """Return a p-value with three decimals, never as zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def estimate_text(value: float, bounds: list[float], sign: str = "") -> str:
    """Return a number and its interval in parentheses, with two decimals. sign: as for `range_text`."""
    return f"{value:{sign}.2f} {range_text(bounds, sign)}"


def range_text(bounds: list[float], sign: str = "") -> str:
    """Return two numbers in parentheses, such as an interval. sign: "+" to show that of positive numbers too."""
    low, high = bounds
    return f"({low:{sign}.2f} to {high:{sign}.2f})"


def seeds_text(count: int, failures: int) -> str:
    """Return the number of seeds that a row summarises, and how many others diverged."""
    return ", ".join([str(count)] * (count > 0) + [f"{failures} diverged"] * (failures > 0))
