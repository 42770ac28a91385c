"""The generated words: sounds as sweeps of formants over 700 channels, and words as sounds with gaps between.

A sound is three formants, each running from one channel to another with a bend. Words come in families that hold the
same sounds, so that counts of spikes cannot tell them apart: other orders (`kti`, `tik`, ...), the same order with
other gaps (`k-t--i`, `k--t-i`; a dash is 60 ms), or a sweep run backwards (capital letter).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sound:
    """Formants as (first channel, last channel, bend in channels), and duration in ms."""

    formants: tuple[tuple[float, float, float], ...]
    duration: float

    def backwards(self) -> "Sound":
        """The same sound, run from its end to its beginning."""
        return Sound(tuple((last, first, bend) for first, last, bend in self.formants), self.duration)


SOUNDS = {
    "k": Sound(((90, 190, 0), (330, 250, 20), (520, 600, 0)), 90),
    "t": Sound(((140, 140, 40), (280, 400, 0), (610, 520, 0)), 80),
    "i": Sound(((200, 100, 0), (430, 430, -40), (560, 640, 0)), 100),
    "s": Sound(((160, 230, 0), (450, 370, 0), (640, 560, -20)), 90),
    "a": Sound(((110, 110, 60), (240, 340, 0), (480, 560, 30)), 100),
    "m": Sound(((80, 130, 0), (370, 290, -30), (590, 510, 0)), 85),
    "o": Sound(((230, 150, 0), (310, 430, 0), (540, 460, 20)), 95),
    "r": Sound(((130, 210, -20), (400, 310, 0), (500, 620, 0)), 90),
}
GAP = 20.0  # ms between two sounds without a dash
DASH = 60.0  # ms that a dash adds

# Families of the same sounds stand on one line.
DIGITS = (
    ("kti", "tik", "ikt", "kit"),
    ("sam", "ams", "mas"),
    ("kso", "osk", "sok"),
    ("r-t--a", "r--t-a"),
    ("m-i--o", "m--i-o"),
    ("tsr", "Tsr"),
    ("ika",),
    ("mor",),
    ("oat",),
    ("rim",),
)
COMMANDS = (
    ("kti", "tik", "ikt", "kit"),
    ("sam", "ams", "mas", "asm"),
    ("kso", "osk", "sok"),
    ("rat", "tar", "art"),
    ("imo", "omi", "mio"),
    ("r-t--o", "r--t-o"),
    ("m-i--k", "m--i-k"),
    ("a-s--i", "a--s-i"),
    ("tsr", "Tsr", "tsR"),
    ("oka", "oKa"),
    ("rim", "riM"),
    ("tmo",),
    ("ari",),
    ("ksm",),
    ("ots",),
    ("kar",),
)


def sound(letter: str) -> Sound:
    """The sound of a letter; a capital is the same sound backwards."""
    known = SOUNDS[letter.lower()]
    return known.backwards() if letter.isupper() else known


def spelled(word: str) -> tuple[list[Sound], list[float]]:
    """A word's sounds, and the gap in ms before each of them (0 before the first)."""
    sounds: list[Sound] = []
    gaps: list[float] = []
    gap = 0.0
    for letter in word:
        if letter == "-":
            gap += DASH
            continue
        sounds.append(sound(letter))
        gaps.append(gap)
        gap = GAP
    return sounds, gaps


def words(families: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """All words, family by family: the classes in their order."""
    return tuple(word for family in families for word in family)
