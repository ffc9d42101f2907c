"""docs/performance.md: every number is that of metrics/."""

from tests.documents import metrics, words


def test_the_times_are_those_of_the_benchmark() -> None:
    page, benchmark = words("docs/performance.md"), metrics("benchmark")
    reference, ours, ratios = benchmark["reference"], benchmark["seconds_per_epoch"]["native"], benchmark["ratios"]
    workers, machine, limit = reference.removeprefix("reference-"), benchmark["machine"], benchmark["share_of_limit"]
    with_torch = benchmark["seconds_per_epoch"]["torch"]
    one, two = (benchmark["epochs_per_minute"]["native"][cores] for cores in ("1", "2"))
    whole = sum(benchmark["parts_of_an_epoch"].values())
    parts = [f"{part} {100 * value / whole:.0f} %" for part, value in benchmark["parts_of_an_epoch"].items()]
    augmentation = dict(benchmark["augmentation"])
    epoch = augmentation.pop("epoch")
    kind = max(augmentation, key=lambda name: augmentation[name])
    for expected in (
        f"Augmentation adds at most {100 * augmentation[kind] / epoch:.0f} % to an epoch's time (`{kind}`).",
        f"a DataLoader with {workers} workers, the fastest",
        f"data files present, all cores | {benchmark['seconds']['study'] / 60:.1f} min |",
        f"figures and DVC | {benchmark['seconds']['before and after training']:.0f} s |",
        f"nothing to do | {benchmark['seconds']['nothing to do']:.1f} s |",
        f"takes {ratios[f'{reference} / native']:.1f} times as long per epoch",
        f"would need {ratios[f'study by {reference} / study']:.1f} times as long",
        f"Batch normalisation takes {ratios['native-batch_norm / native']:.1f} times",
        f"dropout {ratios['native-dropout / native']:.1f} times",
        f"take {100 * limit['train']:.0f} % of our time in training and {100 * limit['evaluate']:.0f} % in evaluation",
        f"uses {ours['megabytes']:.0f} MB of memory, and takes {ours['start']:.1f} s from its start",
        f"Of an epoch's time: {', '.join(parts)}.",
        f"the {benchmark['seconds']['nothing to do']:.1f} seconds in which DVC starts a replicate",
        f"For the study on two cores it gives {benchmark['projection']['2']['study'] / 60:.1f} minutes, where "
        f"{benchmark['seconds']['study'] / 60:.1f} were measured.",
        f"a second copy of the training images, {48_000 * 32 * 32 / 1e6:.0f} MB.",
        f"With PyTorch's backend, a training process uses {with_torch['megabytes']:.0f} MB.",
        f"Two runs side by side train {two / one:.1f} times as many epochs per minute as one",
        f"on {machine['cores']} cores of an {machine['processor'].removesuffix(' Processor')}",
    ):
        assert expected in page, expected
    backends = metrics("backends")
    lowest = "lowest_validation_loss"
    of_all = backends["techniques"].values()
    apart = max(abs(of["native"][lowest] - of["torch"][lowest]) / of["deviation_over_seeds"] for of in of_all)
    assert f"within {backends['epochs']} epochs differs by at most {apart:.1f} standard deviations over seeds" in page


def test_the_costs_of_installation_are_those_measured() -> None:
    page, measured = words("docs/performance.md"), metrics("installation")
    rows = {"before": f"one list for all commands, at {measured['before']['commit']}"}
    rows |= {"study": "what `make reproduce` needs", "tests": "what `make test` adds"}
    for key, row in rows.items():
        seconds, used, size = (measured[key][name] for name in ("seconds", "cpu_seconds", "megabytes"))
        assert f"| {row} | {seconds:.0f} s | {used:.0f} s | {size / 1000:.1f} GB |" in page
    assert f"PyTorch {measured['torch']['after']}" in page and len(set(measured["torch"].values())) == 1
    assert measured["study"]["megabytes"] < 1800
