"""Generator of the embedded spike corpora, in the layout of SHD and SSC.

A sample is a word (see `vocabulary`) said by a speaker: the formants of its sounds become spikes scattered around their
tracks, moved by the speaker's pitch and vocal tract, stretched by the speaker's rate, over a noise of stray spikes,
beginning after a random silence. Every number comes from raw 64-bit words of PCG64 by + - * / and comparison, so that
the corpora are the same on every machine and under every version; numpy's distributions promise no such thing.

The constants were fixed before any network saw the corpora. They are justified by method-free classifiers alone:
spikes per channel must not suffice (logistic regression reaches 26 and 17 percent of 20 and 35 classes), ten slices of
time must help (70 and 56), a nearest neighbour with time must not solve it (95 and 91, the best of several).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from delrec_bench.data.events import CHANNELS
from delrec_bench.data.files import content_digest, saving
from delrec_bench.data.vocabulary import COMMANDS, DIGITS, spelled, words
from delrec_bench.workspace import write_atomic

BLOCK = 250  # samples drawn from one stream
LETTERS = 3  # sounds of a word
TRIES = 200  # spikes at most of one formant in one sound
KEPT = 0.8  # share of them that are there
MADE = "made sounds, built around order and gaps, so they favour memory"
STRAY = 1000  # stray spikes at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A file: samples, and the speakers (first, last + 1) that say them."""

    samples: int
    speakers: tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """A corpus: its number in the seeds, its words, its files."""

    seed: int
    families: tuple[tuple[str, ...], ...]
    splits: dict[str, Split]


# As in SHD, two speakers are heard in the test only; as in SSC, speakers are disjoint.
RECIPES = {
    "formants-20": Recipe(1, DIGITS, {"shd_train.h5": Split(3000, (0, 10)), "shd_test.h5": Split(5000, (0, 12))}),
    "formants-35": Recipe(
        2,
        COMMANDS,
        {
            "ssc_train.h5": Split(4200, (0, 40)),
            "ssc_valid.h5": Split(700, (40, 50)),
            "ssc_test.h5": Split(5040, (50, 70)),
        },
    ),
}


@dataclass(frozen=True)
class Events:
    """A generated part: the samples' spikes one after the other, sorted by time within each."""

    labels: np.ndarray
    speakers: np.ndarray
    lengths: np.ndarray
    times: np.ndarray
    units: np.ndarray

    def digest(self) -> str:
        """SHA-256 of the content, whatever file holds it."""
        return content_digest(vars(self))


class Draws:
    """Uniform numbers in [0, 1) with 53 bits, from raw words."""

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(seeds)))

    def __call__(self, *shape: int) -> np.ndarray:
        """Numbers of that shape, the next of the stream."""
        count = 1
        for size in shape:
            count *= size
        return ((self._bits.random_raw(count) >> 11) * 2.0**-53).reshape(shape)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Uniform in [low, high)."""
        return low + (high - low) * self(*shape)


@dataclass(frozen=True)
class Voices:
    """What tells speakers apart, one entry each.

    Attributes:
        pitch: Channels by which everything is moved.
        tract: Factor on the distance of a formant from the middle channel.
        rate: Factor on every duration.
        width: Channels over which a formant scatters.
        noise: Share of the stray spikes.
    """

    pitch: np.ndarray
    tract: np.ndarray
    rate: np.ndarray
    width: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, recipe: Recipe) -> "Voices":
        """The speakers of a corpus."""
        count = max(split.speakers[1] for split in recipe.splits.values())
        draw = Draws(recipe.seed, 0)
        return cls(
            pitch=draw.between(-40, 40, count),
            tract=draw.between(0.9, 1.1, count),
            rate=draw.between(0.75, 1.3, count),
            width=draw.between(25, 50, count),
            noise=draw.between(0.3, 1.0, count),
        )


@dataclass(frozen=True)
class Lexicon:
    """The words of a corpus as tables: formants (classes, 3, 3, 3), durations and gaps (classes, 3) in ms."""

    formants: np.ndarray
    durations: np.ndarray
    gaps: np.ndarray

    @classmethod
    def of(cls, recipe: Recipe) -> "Lexicon":
        """The words of a corpus."""
        said = [spelled(word) for word in words(recipe.families)]
        return cls(
            np.array([[sound.formants for sound in sounds] for sounds, _ in said], np.float64),
            np.array([[sound.duration for sound in sounds] for sounds, _ in said], np.float64),
            np.array([gaps for _, gaps in said], np.float64),
        )


def generate(recipe: Recipe, name: str, limit: int | None = None) -> Iterator[Events]:
    """The blocks of one file, each from its own stream; `limit` stops after that many samples (whole blocks)."""
    split = recipe.splits[name]
    voices, lexicon = Voices.of(recipe), Lexicon.of(recipe)
    number = 1 + list(recipe.splits).index(name)
    classes = len(lexicon.gaps)
    # Balanced, in an order without pattern: any first part of a file serves as a smaller corpus.
    raw = np.random.PCG64(np.random.SeedSequence([recipe.seed, number])).random_raw(split.samples)
    labels = np.argsort(raw, kind="stable") % classes
    for first in range(0, min(split.samples, limit or split.samples), BLOCK):
        draw = Draws(recipe.seed, number, first)
        yield _block(draw, labels[first : first + BLOCK], split.speakers, voices, lexicon)


def _block(draw: Draws, labels: np.ndarray, speakers: tuple[int, int], voices: Voices, lexicon: Lexicon) -> Events:
    count = len(labels)
    who = np.floor(draw.between(*speakers, count)).astype(np.int64)
    rate = voices.rate[who] * draw.between(0.88, 1.12, count)
    begin = draw.between(0, 160, count)
    moved = voices.pitch[who] + draw.between(-20, 20, count)
    lasting = lexicon.durations[labels] * rate[:, None] * draw.between(0.8, 1.2, count, LETTERS)
    gaps = lexicon.gaps[labels] * rate[:, None] * draw.between(0.8, 1.2, count, LETTERS)
    starts = begin[:, None] + np.cumsum(gaps, axis=1) + np.cumsum(lasting, axis=1) - lasting
    loud = draw.between(0.4, 1.0, count, LETTERS, 3, 1)

    shape = (count, LETTERS, 3, TRIES)
    along = draw(*shape)
    scatter = draw(*shape) + draw(*shape) - 1.0
    present = draw(*shape) < KEPT * loud
    first, last, bend = (lexicon.formants[labels][..., i, None] for i in range(3))
    track = first + (last - first) * along + bend * (4.0 * along * (1.0 - along))
    middle = CHANNELS / 2
    place = (
        middle
        + (track - middle) * voices.tract[who][:, None, None, None]
        + moved[:, None, None, None]
        + scatter * voices.width[who][:, None, None, None]
    )
    time = starts[:, :, None, None] + lasting[:, :, None, None] * along

    ends = starts[:, -1] + lasting[:, -1]
    stray_time = draw(count, STRAY) * (ends + 40.0)[:, None]
    stray_place = draw(count, STRAY) * CHANNELS
    stray_present = draw(count, STRAY) < voices.noise[who][:, None]

    places = np.floor(np.concatenate([place.reshape(count, -1), stray_place], axis=1))
    times = np.concatenate([time.reshape(count, -1), stray_time], axis=1) / 1000.0
    there = np.concatenate([present.reshape(count, -1), stray_present], axis=1)
    there &= (places >= 0) & (places < CHANNELS)
    owner = np.nonzero(there)[0]
    return _sorted(labels, who, owner, times[there], places[there])


def _sorted(labels: np.ndarray, who: np.ndarray, owner: np.ndarray, times: np.ndarray, places: np.ndarray) -> Events:
    # The bits of a float16 that is not negative ascend with its value, so one integer sorts by sample, time, unit.
    bits = times.astype(np.float16).view(np.uint16).astype(np.uint64)
    key = (owner.astype(np.uint64) << 32) | (bits << 16) | places.astype(np.uint64)
    key.sort()
    return Events(
        labels=labels.astype(np.uint16),
        speakers=who.astype(np.uint16),
        lengths=np.bincount(owner, minlength=len(labels)).astype(np.int64),
        times=((key >> 16) & 0xFFFF).astype(np.uint16).view(np.float16),
        units=(key & 0xFFFF).astype(np.uint16),
    )


def joined(blocks: list[Events]) -> Events:
    """Blocks as one."""
    return Events(*(np.concatenate([getattr(block, name) for block in blocks]) for name in Events.__annotations__))


def write(path: Path, events: Events, names: tuple[str, ...]) -> None:
    """Write a file in SHD's layout; it appears whole or not at all.

    Raises:
        BenchError: No space, or no right to write.
    """
    with saving(path):
        write_atomic(path, _image(events, names))


def _image(events: Events, names: tuple[str, ...]) -> bytes:
    """The file's bytes, made in memory: HDF5 crashes when the disk fills up while it writes."""
    ends = np.cumsum(events.lengths)[:-1]
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        for name, values in (("times", events.times), ("units", events.units)):
            parts = np.empty(len(events.lengths), object)
            parts[:] = np.split(values, ends)
            _dataset(file, f"spikes/{name}", parts, h5py.vlen_dtype(values.dtype))
        _dataset(file, "labels", events.labels, events.labels.dtype)
        _dataset(file, "extra/speaker", events.speakers, events.speakers.dtype)
        _dataset(file, "extra/keys", np.array([name.encode() for name in names]), None)
        file.flush()
        return bytes(file.id.get_file_image())


def _dataset(file: Any, name: str, values: np.ndarray, dtype: Any) -> None:
    # Without times of creation the same content gives the same bytes.
    file.create_dataset(name, data=values, dtype=dtype, track_times=False)


def read_content(path: Path) -> str:
    """Content digest of a file written by `write`; an empty string where the file cannot be such a one."""
    try:
        with h5py.File(path, "r") as file:
            times, units = file["spikes/times"][()], file["spikes/units"][()]
            return Events(
                labels=file["labels"][()],
                speakers=file["extra/speaker"][()],
                lengths=np.array([len(part) for part in times], np.int64),
                times=np.concatenate(times),
                units=np.concatenate(units),
            ).digest()
    except (OSError, KeyError, ValueError):
        return ""


def make(task: str, folder: Path, again: bool = False) -> list[Path]:
    """Generate the files of an embedded corpus into `folder`: those that are missing, or all (`again`).

    Returns:
        The files that were written.

    Raises:
        BenchError: No space, or no right to write.
    """
    recipe = RECIPES[task]
    written = []
    for name in recipe.splits:
        path = folder / name
        if again or not path.is_file():
            log.info("generating %s", path)
            write(path, joined(list(generate(recipe, name))), words(recipe.families))
            written.append(path)
    return written
