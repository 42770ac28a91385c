"""Broken HDF5 files: our own error that names file, sample and value."""

from functools import partial

import h5py
import numpy as np
import pytest
from delrec_bench.data.binning import recordings
from delrec_bench.data.generated import Events, write
from delrec_bench.errors import BenchError
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tests.fuzzing import fuzz
from benchmarks.tests.test_tasks_spikes import change, put_lists

NUMBERS = {"spikes/times": np.float16, "spikes/units": np.uint16}


def small(path, **changes):
    """A file of four samples; a change replaces a dataset by name, as `change` does."""
    samples = np.array([0, 1, 1, 0], np.uint16), np.array([0, 0, 1, 1], np.uint16), np.array([2, 1, 0, 3])
    times, units = [0.1, 0.2, 0.3, 0.05, 0.5, 0.9], [1, 699, 5, 0, 1, 2]
    write(path, Events(*samples, np.array(times, np.float16), np.array(units, np.uint16)), ("yes", "no"))
    for place, values in changes.items():
        name = place.replace("__", "/")
        lists = partial(put_lists, name=name, values=values, kind=NUMBERS.get(name))
        change(path, name, lists if isinstance(values, list) else values)
    return path


def floats(value, file):
    put_lists(file, "spikes/units", [[1, value], [5], [], [0, 1, 2]], np.float64)


HUGE = {"shape": (1 << 31,), "maxshape": (None,), "chunks": (1 << 16,)}
BROKEN = {
    "2^31 samples declared": (
        {"labels": lambda f: f.create_dataset("labels", dtype="u2", **HUGE)},
        "it contains 4 of spikes/times, 4 of spikes/units, 2147483648 of labels",
    ),
    "2^31 lists declared": (
        {"spikes__times": lambda f: f.create_dataset("spikes/times", dtype=h5py.vlen_dtype("f2"), **HUGE)},
        "'spikes/times' with 2147483648 entries needs|2147483648 of spikes/times, 4 of spikes/units",
    ),
    "times a group": ({"spikes__times": lambda f: f.create_group("spikes/times")}, "group .* for 'spikes/times'"),
    "units a table": ({"spikes__units": np.zeros((4, 2), "u2")}, r"shape \(4, 2\).* for 'spikes/units'"),
    "times without lists": ({"spikes__times": np.zeros(4)}, "<f8.* for 'spikes/times'"),
    "spikes missing": ({"spikes__units": None}, "None for 'spikes/units'"),
    "labels of strings": ({"labels": np.array([b"a", b"b", b"a", b"b"])}, "S1.* for 'labels'"),
    "a label that is no number": ({"labels": np.array([0, np.nan, 1, 0])}, "sample 1 has label nan"),
    "a huge label": ({"labels": np.array([0, 2**62, 1, 0])}, "sample 1 has label 4611686018427387904"),
    "ragged": ({"spikes__units": [[1], [5], [], [0, 1, 2]]}, "sample 0 has 2 times but 1 units"),
    "no sample": (
        {"spikes__times": [], "spikes__units": [], "labels": np.zeros(0, "u2"), "extra__speaker": None},
        "contains no samples; copy or fetch it again",
    ),
    **{f"unit {x}": ({"spikes__units": partial(floats, x)}, "sample 0 has unit") for x in (-3, 1.5, 1e300)},
    "a huge unit": ({"spikes__units": [[1, 65535], [5], [], [0, 1, 2]]}, "sample 0 has unit 65535, outside 0 to 699"),
    "a time that is no number": ({"spikes__times": [[0.1, np.nan], [0.3], [], [0, 0, 0]]}, "sample 0 has time nan"),
    "an endless time": ({"spikes__times": [[0.1, 0.2], [np.inf], [], [0, 0, 0]]}, "sample 1 has time inf"),
    "big-endian units": (
        {"spikes__units": partial(put_lists, name="spikes/units", values=[[1], [2], [], [0, 1, 2]], kind=">u2")},
        ">u2.*'spikes/units'|'spikes/units'",
    ),
    "a negative time": ({"spikes__times": [[0.1, 0.2], [0.3], [], [0, -1, 0]]}, "sample 3 has time -1.0"),
    "a link to another file": (
        {"labels": lambda f: f.__setitem__("labels", h5py.ExternalLink("other.h5", "labels"))},
        "for 'labels'; SHD's layout, in one file: spikes",
    ),
}  # fmt: skip


def test_a_label_beyond_its_samples_is_refused_in_training_data_alone(tmp_path):
    changes: dict = {"labels": np.array([0, 1, 7, 0]), "extra__keys": None}
    with pytest.raises(BenchError, match="sample 2 has label 7, but there are at most 4 classes without extra/keys"):
        list(recordings(small(tmp_path / "shd_train.h5", **changes)))
    assert [block.labels.tolist() for block in recordings(small(tmp_path / "shd_test.h5", **changes))] == [[0, 1, 7, 0]]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line_that_names_file_sample_and_value(tmp_path, case):
    changes, message = BROKEN[case]
    small(tmp_path / "other.h5")
    path = small(tmp_path / "shd_train.h5", **changes)
    with pytest.raises(BenchError, match=f"shd_train.h5: .*({message})") as caught:
        list(recordings(path, tmp_path / "scratch"))
    assert "\n" not in str(caught.value) and "bug" not in str(caught.value)


NAMES = ["spikes__times", "spikes__units", "labels", "extra__speaker", "extra__keys"]
KINDS = ["f2", "f8", "i1", "i8", "u2", "u8", "S3", "?", "c8"]
number = st.one_of(st.integers(-(2**40), 2**40), st.floats(), st.sampled_from([0, 1, 699, 700, 65535]))
dataset = st.tuples(
    st.sampled_from(["lists", "flat", "scalar", "table", "group", "absent"]),
    st.sampled_from(KINDS),
    st.lists(st.lists(number, max_size=4), max_size=5),
)


@fuzz(300)
@given(drawn=st.dictionaries(st.sampled_from(NAMES), dataset))
def test_whatever_the_datasets_hold_only_our_own_error_comes(tmp_path, drawn):
    """Well-formed HDF5 with any content, which harms nobody who opens it: read without a child, hundreds of times."""

    def make(name, form, kind, lists, file):
        with np.errstate(all="ignore"):
            parts = [np.array(part, np.float64).astype(kind) for part in lists]
        if form == "lists" and kind != "S3":
            put_lists(file, name, parts, kind)
        elif form == "group":
            file.create_group(name)
        elif form != "absent":
            flat = np.concatenate([np.zeros(0, kind), *parts])
            file[name] = {"scalar": np.zeros((), kind), "table": np.zeros((4, 2), kind)}.get(form, flat)

    changes = {name: partial(make, name.replace("__", "/"), *how) for name, how in drawn.items()}
    path = small(tmp_path / "shd_train.h5", **changes)
    try:
        assert sum(len(block.lengths) for block in recordings(path)) > 0
    except BenchError as error:
        assert "shd_train.h5: " in str(error) and "\n" not in str(error)
