"""Generator of the embedded spike corpora, in the layout of SHD and SSC.

A sample is a word said by a speaker: the formants of its sounds become spikes scattered around their tracks, moved by
the speaker's pitch and vocal tract, stretched by the speaker's rate, over a noise of stray spikes, beginning after a
random silence. Words come in families that hold the same sounds, so that counts of spikes cannot tell them apart: other
orders (`kti`, `tik`, ...), the same order with other gaps (`k-t--i`, `k--t-i`), or a sweep run backwards.

Every number comes from raw 64-bit words of PCG64 by + - * / and comparison, so that the corpora are the same on every
machine and under every version; numpy's distributions promise no such thing.

The constants were fixed before any network saw the corpora. They are justified by method-free classifiers alone:
spikes per channel must not suffice (logistic regression reaches 26 and 17 percent of 20 and 35 classes), ten slices of
time must help (70 and 56), a nearest neighbour with time must not solve it (95 and 91, the best of several).
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from delrec_bench.data.binning import CHANNELS, HDF5_ERRORS
from delrec_bench.data.files import content_digest
from delrec_bench.data.samples import order
from delrec_bench.environment import say
from delrec_bench.workspace import write_atomic

BLOCK = 250  # samples drawn from one stream
LETTERS = 3  # sounds of a word
TRIES = 200  # spikes at most of one formant in one sound
KEPT = 0.8  # share of them that are there
MADE = "made sounds, built around order and gaps, so they favour memory"
STRAY = 1000  # stray spikes at most

# Letter -> its formants (first channel, last channel, bend in channels) and its duration in ms; a capital letter is the
# same sound run from its end to its beginning.
SOUNDS = {
    "k": (((90, 190, 0), (330, 250, 20), (520, 600, 0)), 90),
    "t": (((140, 140, 40), (280, 400, 0), (610, 520, 0)), 80),
    "i": (((200, 100, 0), (430, 430, -40), (560, 640, 0)), 100),
    "s": (((160, 230, 0), (450, 370, 0), (640, 560, -20)), 90),
    "a": (((110, 110, 60), (240, 340, 0), (480, 560, 30)), 100),
    "m": (((80, 130, 0), (370, 290, -30), (590, 510, 0)), 85),
    "o": (((230, 150, 0), (310, 430, 0), (540, 460, 20)), 95),
    "r": (((130, 210, -20), (400, 310, 0), (500, 620, 0)), 90),
}
GAP = 20.0  # ms between two sounds without a dash
DASH = 60.0  # ms that a dash adds

# Between commas stands a family of words that hold the same sounds.
DIGITS = "kti tik ikt kit, sam ams mas, kso osk sok, r-t--a r--t-a, m-i--o m--i-o, tsr Tsr, ika, mor, oat, rim"
COMMANDS = (
    "kti tik ikt kit, sam ams mas asm, kso osk sok, rat tar art, imo omi mio, r-t--o r--t-o, m-i--k m--i-k, "
    "a-s--i a--s-i, tsr Tsr tsR, oka oKa, rim riM, tmo, ari, ksm, ots, kar"
)


class Recipe(NamedTuple):
    """A corpus: its number in the seeds, its words, and each file's samples and speakers (first, last + 1)."""

    seed: int
    families: str
    splits: dict[str, tuple[int, tuple[int, int]]]

    @property
    def words(self) -> tuple[str, ...]:
        """All words, family by family: the classes in their order."""
        return tuple(self.families.replace(",", "").split())


# As in SHD, two speakers are heard in the test only; as in SSC, speakers are disjoint.
RECIPES = {
    "formants-20": Recipe(1, DIGITS, {"shd_train.h5": (3000, (0, 10)), "shd_test.h5": (5000, (0, 12))}),
    "formants-35": Recipe(
        2, COMMANDS, {"ssc_train.h5": (4200, (0, 40)), "ssc_valid.h5": (700, (40, 50)), "ssc_test.h5": (5040, (50, 70))}
    ),
}


class Events(NamedTuple):
    """A generated part: the samples' spikes one after the other, sorted by time within each."""

    labels: np.ndarray
    speakers: np.ndarray
    lengths: np.ndarray
    times: np.ndarray
    units: np.ndarray

    def digest(self) -> str:
        """SHA-256 of the content, whatever file holds it."""
        return content_digest(self._asdict())


class Draws:
    """Uniform numbers in [0, 1) with 53 bits, from raw words."""

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(seeds)))

    def __call__(self, *shape: int) -> np.ndarray:
        """Numbers of that shape, the next of the stream."""
        return ((self._bits.random_raw(math.prod(shape)) >> 11) * 2.0**-53).reshape(shape)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Uniform in [low, high)."""
        return low + (high - low) * self(*shape)


def spelled(word: str) -> tuple[list[tuple[tuple[int, int, int], ...]], list[float], list[float]]:
    """A word's sounds: the formants of each, its duration, and the gap in ms before it (0 before the first)."""
    sounds = re.findall(r"(-*)(\w)", word)
    known = [(*SOUNDS[letter.lower()], letter.isupper()) for _, letter in sounds]
    formants = [tuple((b, a, bend) if back else (a, b, bend) for a, b, bend in tracks) for tracks, _, back in known]
    gaps = [GAP + DASH * len(dashes) for dashes, _ in sounds]
    return formants, [float(duration) for _, duration, _ in known], [0.0, *gaps[1:]]


def _voices(recipe: Recipe) -> dict[str, np.ndarray]:
    """What tells the speakers of a corpus apart, one number each."""
    count = max(speakers[1] for _, speakers in recipe.splits.values())
    draw = Draws(recipe.seed, 0)
    ranges = {
        "pitch": (-40, 40),  # channels by which everything is moved
        "tract": (0.9, 1.1),  # factor on the distance of a formant from the middle channel
        "rate": (0.75, 1.3),  # factor on every duration
        "width": (25, 50),  # channels over which a formant scatters
        "noise": (0.3, 1.0),  # share of the stray spikes
    }
    return {name: draw.between(low, high, count) for name, (low, high) in ranges.items()}


def generate(recipe: Recipe, name: str) -> Iterator[Events]:
    """The blocks of one file, each from its own stream."""
    (samples, speakers), voices = recipe.splits[name], _voices(recipe)
    # tables by class: formants (classes, 3, 3, 3), durations and gaps (classes, 3) in ms
    lexicon = tuple(np.array(table, np.float64) for table in zip(*map(spelled, recipe.words), strict=True))
    number = 1 + list(recipe.splits).index(name)
    # Balanced, in an order without pattern: any first part of a file serves as a smaller corpus.
    labels = order(samples, recipe.seed, number) % len(recipe.words)
    for first in range(0, samples, BLOCK):
        draw = Draws(recipe.seed, number, first)
        yield _block(draw, labels[first : first + BLOCK], speakers, voices, *lexicon)


def _block(
    draw: Draws, labels: np.ndarray, speakers: tuple[int, int], voices: dict[str, np.ndarray], *lexicon: np.ndarray
) -> Events:
    formants, durations, gaps = lexicon
    count = len(labels)
    who = np.floor(draw.between(*speakers, count)).astype(np.int64)
    voice = {name: of[who] for name, of in voices.items()}
    rate = voice["rate"] * draw.between(0.88, 1.12, count)
    begin = draw.between(0, 160, count)
    moved = voice["pitch"] + draw.between(-20, 20, count)
    lasting = durations[labels] * rate[:, None] * draw.between(0.8, 1.2, count, LETTERS)
    pauses = gaps[labels] * rate[:, None] * draw.between(0.8, 1.2, count, LETTERS)
    starts = begin[:, None] + np.cumsum(pauses, axis=1) + np.cumsum(lasting, axis=1) - lasting
    loud = draw.between(0.4, 1.0, count, LETTERS, 3, 1)

    shape = (count, LETTERS, 3, TRIES)
    along = draw(*shape)
    scatter = draw(*shape) + draw(*shape) - 1.0
    present = draw(*shape) < KEPT * loud
    first, last, bend = (formants[labels][..., i, None] for i in range(3))
    track = first + (last - first) * along + bend * (4.0 * along * (1.0 - along))
    middle = CHANNELS / 2
    tract, shift, width = (of[:, None, None, None] for of in (voice["tract"], moved, voice["width"]))
    place = middle + (track - middle) * tract + shift + scatter * width
    time = starts[:, :, None, None] + lasting[:, :, None, None] * along

    ends = starts[:, -1] + lasting[:, -1]
    stray_time = draw(count, STRAY) * (ends + 40.0)[:, None]
    stray_place = draw(count, STRAY) * CHANNELS
    stray_present = draw(count, STRAY) < voice["noise"][:, None]

    places = np.floor(np.concatenate([place.reshape(count, -1), stray_place], axis=1))
    times = np.concatenate([time.reshape(count, -1), stray_time], axis=1) / 1000.0
    there = np.concatenate([present.reshape(count, -1), stray_present], axis=1)
    there &= (places >= 0) & (places < CHANNELS)
    owner = np.nonzero(there)[0]
    # The bits of a float16 that is not negative ascend with its value, so one integer sorts by sample, time, unit.
    bits = times[there].astype(np.float16).view(np.uint16).astype(np.uint64)
    key = (owner.astype(np.uint64) << 32) | (bits << 16) | places[there].astype(np.uint64)
    key.sort()
    return Events(
        labels=labels.astype(np.uint16),
        speakers=who.astype(np.uint16),
        lengths=np.bincount(owner, minlength=count).astype(np.int64),
        times=((key >> 16) & 0xFFFF).astype(np.uint16).view(np.float16),
        units=(key & 0xFFFF).astype(np.uint16),
    )


def joined(blocks: Iterable[Events]) -> Events:
    """Blocks as one."""
    return Events(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def write(path: Path, events: Events, names: tuple[str, ...]) -> None:
    """Write a file in SHD's layout; it appears whole or not at all."""
    # Made in memory, since HDF5 crashes when the disk fills up while it writes; without times of creation, so that the
    # same content gives the same bytes.
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        for name, values in (("spikes/times", events.times), ("spikes/units", events.units)):
            lists = np.empty(len(events.lengths), h5py.vlen_dtype(values.dtype))
            lists[:] = np.split(values, np.cumsum(events.lengths)[:-1])
            file.create_dataset(name, data=lists, track_times=False)
        parts = {"labels": events.labels, "extra/speaker": events.speakers, "extra/keys": np.array(names, "S")}
        for name, values in parts.items():
            file.create_dataset(name, data=values, track_times=False)
        file.flush()
        image = bytes(file.id.get_file_image())
    write_atomic(path, image)


def read_content(path: Path) -> str:
    """Content digest of a file written by `write`; an empty string where the file cannot be such a one."""
    try:
        with h5py.File(path, "r") as file:
            times, units = file["spikes/times"][()], file["spikes/units"][()]
            lengths = np.array([len(part) for part in times], np.int64)
            labels, speakers = file["labels"][()], file["extra/speaker"][()]
            return Events(labels, speakers, lengths, np.concatenate(times), np.concatenate(units)).digest()
    except HDF5_ERRORS:
        return ""


def make(task: str, folder: Path) -> list[Path]:
    """Generate the missing files of an embedded corpus into `folder`; return them."""
    recipe = RECIPES[task]
    written = [folder / name for name in recipe.splits if not (folder / name).is_file()]
    for path in written:
        say(f"generating {path}")
        write(path, joined(generate(recipe, path.name)), recipe.words)
    return written
