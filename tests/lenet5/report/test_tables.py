"""Tables in Markdown."""

from lenet5.report.tables import markdown, p_value_text, seeds_text


def test_a_markdown_table_is_aligned_and_keeps_its_cells_as_text() -> None:
    table = markdown(["technique", "test accuracy %"], [["a_long_technique", "90.10"], ["b", ""]])
    assert table.endswith("|\n")
    header, rule, first, second = table.splitlines()
    assert len({len(line) for line in (header, rule, first, second)}) == 1
    assert rule.startswith("|:-") and rule.endswith("-:|")
    assert first.split() == ["|", "a_long_technique", "|", "90.10", "|"]
    assert second.split() == ["|", "b", "|", "|"]


def test_a_p_value_is_never_shown_as_zero() -> None:
    assert p_value_text(1e-12) == "< 0.001"
    assert p_value_text(0.001) == "0.001"
    assert p_value_text(0.0449) == "0.045"


def test_diverged_runs_are_shown_next_to_the_seeds() -> None:
    assert [seeds_text(10, 0), seeds_text(9, 1), seeds_text(0, 10)] == ["10", "9, 1 diverged", "10 diverged"]
