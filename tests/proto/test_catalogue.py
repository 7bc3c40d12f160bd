import csv
import subprocess
import sys
import zipfile
from importlib.resources import files
from math import isnan
from pathlib import Path

import pytest

from fallow_proto.catalogue import PRECISIONS, chips, find, peak_flops

ROOT = Path(__file__).resolve().parents[2]


def rows() -> list[dict[str, str]]:
    with (files("fallow_proto") / "chips.csv").open(encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_the_table_is_in_the_wheel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    assert "fallow_proto/chips.csv" in zipfile.ZipFile(wheel).namelist()


def test_every_row_has_its_source_and_every_matrix_rate_its_density() -> None:
    for row in rows():
        assert row["source"], row["model"]
        assert row["aliases"], row["model"]
        assert row["domestic"] in ("true", "false"), row["model"]
        matrix = any(row[name] for name in ("tf32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops", "int8_tops"))
        assert (row["density"] in ("dense", "sparse", "unknown")) == matrix, row["model"]
        assert bool(row["density_by"]) == matrix, row["model"]
        assert bool(row["idle_source"]) == bool(row["idle_watts"] or row["idle_memory_mib"]), row["model"]


def test_every_number_of_the_table_is_one() -> None:
    for row in rows():
        for name, cell in row.items():
            if name.endswith(("_gib", "_watts", "_tflops", "_tops", "_mib", "_per_s")) and cell:
                assert float(cell) > 0, (row["model"], name)


def test_every_alias_finds_its_row() -> None:
    for row in rows():
        for alias in row["aliases"].split(";"):
            tdp = float(row["tdp_watts"] or "nan")
            found = find(row["vendor"], alias, tdp)
            assert found is not None
            assert found.model == row["model"]


def test_the_name_of_every_precision_is_a_column() -> None:
    assert {f"{name}_tops" if name == "int8" else f"{name}_tflops" for name in PRECISIONS} <= set(rows()[0])


@pytest.mark.parametrize(
    "printed", ["NVIDIA A100-SXM4-80GB", "nvidia a100-sxm4-80gb", "  NVIDIA  A100-SXM4-80GB ", "A100-SXM4-80GB"]
)
def test_case_spaces_and_the_vendor_in_front_do_not_matter(printed: str) -> None:
    chip = find("nvidia", printed)
    assert chip is not None
    assert chip.model == "A100-SXM4-80GB"


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("nvidia", "NVIDIA A100-SXM4-80G"),
        ("nvidia", "NVIDIA A100-SXM4-80GB MIG 1g.10gb"),
        ("nvidia", "NVIDIA GeForce RTX 4090 Laptop GPU"),
        ("nvidia", "NVIDIA"),
        ("nvidia", ""),
        ("metax", "NVIDIA A100-SXM4-80GB"),
        ("nobody", "NVIDIA A100-SXM4-80GB"),
        ("cambricon", "MLU370"),
    ],
)
def test_a_near_match_is_unknown(vendor: str, model: str) -> None:
    assert find(vendor, model) is None
    assert all(isnan(peak_flops(vendor, model, precision)) for precision in PRECISIONS)


def test_a_peak_is_in_flops_of_the_precision_that_was_asked_for() -> None:
    assert peak_flops("nvidia", "NVIDIA A100-SXM4-80GB", "fp16") == 312e12
    assert peak_flops("nvidia", "NVIDIA A100-SXM4-80GB", "fp32") == 19.5e12
    assert peak_flops("nvidia", "NVIDIA A100-SXM4-80GB", "int8") == 624e12


def test_fp16_is_bf16_on_a_chip_without_it_and_nothing_else_stands_in() -> None:
    assert peak_flops("biren", "BR104", "fp16") == peak_flops("biren", "BR104", "bf16") == 512e12
    assert isnan(peak_flops("mthreads", "MTT S5000", "fp16"))  # only FP8 is published
    assert isnan(peak_flops("ascend", "910B2", "fp32"))
    assert isnan(peak_flops("ascend", "910B2", "bf16"))


def test_a_rate_that_may_be_one_with_sparsity_is_not_shown_as_dense() -> None:
    chip = find("mthreads", "MTT S5000")
    assert chip is not None
    assert chip.density == "unknown"
    assert chip.peaks["fp8"] == 1000e12
    assert isnan(chip.peak_flops("fp8"))


def test_a_vector_rate_has_no_density_to_be_in_doubt_about() -> None:
    assert isnan(peak_flops("hygon", "K100_AI", "fp16"))
    assert peak_flops("hygon", "K100_AI", "fp32") == 49e12


def test_boards_with_one_name_are_told_apart_by_their_power_limit() -> None:
    assert peak_flops("metax", "MXC500", "fp16", power_limit_watts=350.0) == 240e12
    assert peak_flops("metax", "MXC500", "fp16", power_limit_watts=450.0) == 280e12


def test_of_boards_that_cannot_be_told_apart_only_what_they_share_is_known() -> None:
    chip = find("metax", "MXC500", power_limit_watts=300.0)
    assert chip is not None
    assert chip.memory_bytes == 64 * 2**30
    assert chip.domestic
    assert isnan(chip.peak_flops("fp16"))
    assert isnan(chip.idle_power_max_watts)


def test_a_precision_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(KeyError, match="fp4"):
        peak_flops("nvidia", "NVIDIA A100-SXM4-80GB", "fp4")


def test_domestic_is_a_matter_of_the_vendor() -> None:
    assert {chip.vendor for chip in chips() if chip.domestic} == {
        "ascend", "metax", "biren", "enflame", "iluvatar", "kunlunxin", "cambricon", "hygon", "mthreads", "thead",
        "vastai",
    }


def test_an_idle_range_lies_below_the_boards_power_and_memory() -> None:
    for chip in chips():
        assert not chip.idle_power_max_watts >= chip.tdp_watts
        assert not chip.base_memory_max_bytes >= chip.memory_bytes
