"""What is done to a whole input to make it hostile. Each case has a name, and its name says all: `make fuzz CASE=...`.

A case is "seed/mutation/number"; the name seeds its random numbers, so a case is the same bytes on every machine.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import nibabel as nib
from fuzz_seeds import SYNTAXES, Element, Seed, seeds

Mutation = Callable[[Seed, random.Random, int], bytes]

TRUNCATIONS = 100  # one at every 1 % of a file
_LENGTHS = (0, 1, 3, 0xFFFE, 1 << 30, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ".split()
)
_NUMBERS = (
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"1e-300",
    b"0",
    b"-1",
    b"-0.0",
    b"1e12",
    b"65536",
    b"2147483648",
    b"0x10",
    b"",
)
_TEXTS = (
    b"\\" * 4000,
    b"\xff" * 64,
    b"\x1b$B\x1b[2J\x1b]0;x\x07",
    b"A" * 70_000,
    b"\0" * 64,
    b"..\\..\\x",
    b"1.2." * 40,
)
_BINARIES = (
    b"\0\0",
    b"\xff\xff",
    b"\1\0",
    b"\0\1",
    b"\0\x80",
    b"\x11\0",
    b"\0\x40",
    b"\xff\x7f",
    b"\x40\0",
    b"\x0c\0",
    b"",
)
_GEOMETRY = (0x00180050, 0x00200032, 0x00200037, 0x00280030, 0x00281052, 0x00281053, 0x00280008)
_SHAPE = (0x00280002, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120)
_META_TAGS = (b"\x02\0\x10\0", b"\x02\0\x02\0")
_UIDS = (
    *(uid.encode() for uid in SYNTAXES.values()),
    b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.91", b"1.2.840.10008.1.2.4.100", b"1.2.840.10008.1.2.4.201",
    b"1.2.840.113619.5.2", b"1.2.3", b"", b"\xff" * 20,
)  # fmt: skip


def truncate(seed: Seed, chance: random.Random, number: int) -> bytes:
    """The first `number` % of the file."""
    return seed.content[: len(seed.content) * number // TRUNCATIONS]


def flip_header(seed: Seed, chance: random.Random, number: int) -> bytes:
    """One to eight bits of what is before the pixels."""
    return seed.packed(_flipped(seed.body, 0, _pixels_at(seed), chance))


def flip_pixels(seed: Seed, chance: random.Random, number: int) -> bytes:
    """One to eight bits of the pixel data and its envelope."""
    return seed.packed(_flipped(seed.body, _pixels_at(seed), len(seed.body), chance))


def flip_packed(seed: Seed, chance: random.Random, number: int) -> bytes:
    """One to eight bits of the file as it lies on the disk."""
    return _flipped(seed.content, 0, len(seed.content), chance)


def splice(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A piece cut out, doubled, moved, or replaced by noise, zeros or ones."""
    body = seed.body
    start = chance.randrange(len(body))
    piece = body[start : start + chance.choice((1, 2, 8, 100, 1000))]
    rest = body[start + len(piece) :]
    noise = chance.choice((chance.randbytes(len(piece)), bytes(len(piece)), b"\xff" * len(piece)))
    return seed.packed(body[:start] + chance.choice((b"", piece * 2, piece[::-1], noise)) + rest)


def wrong_vr(seed: Seed, chance: random.Random, number: int) -> bytes:
    """Another VR for an element, its length field left as it is."""
    at = chance.choice(seed.elements).start + 4
    return seed.packed(_replaced(seed.body, at, chance.choice(_VRS)))


def wrong_length(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A length that an element does not have, up to 4 GB."""
    one = chance.choice(seed.elements)
    long = seed.syntax.is_implicit_VR or one.value_at - one.start == 12
    size = 4 if long else 2
    true = one.end - one.value_at
    length = chance.choice((*_LENGTHS, true + 1, true + 2, true + 20, true + 60, max(0, true - 1), 2 * true))
    number_bytes = (length & (0xFFFFFFFF if long else 0xFFFF)).to_bytes(size, _order(seed))
    return seed.packed(_replaced(seed.body, one.value_at - size, number_bytes))


def absurd_value(seed: Seed, chance: random.Random, number: int) -> bytes:
    """Rows, Columns, bits, spacings, positions ... of 0, 65535, NaN, infinity or nonsense."""
    one = chance.choice([one for one in seed.elements if one.tag in _GEOMETRY + _SHAPE])
    if one.tag in _SHAPE:
        return seed.packed(_with_value(seed, one, chance.choice(_BINARIES)))
    count = chance.choice((1, 2, 3, 6))
    return seed.packed(_with_value(seed, one, b"\\".join(chance.choices(_NUMBERS, k=count))))


def absurd_text(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A text of control characters, no characters, or 70,000 of them."""
    return seed.packed(_with_value(seed, chance.choice(seed.elements[:-1]), chance.choice(_TEXTS)))


def lost_or_doubled(seed: Seed, chance: random.Random, number: int) -> bytes:
    """An element dropped, doubled, or moved to the end of the header."""
    one, pixels, body = chance.choice(seed.elements[:-1]), seed.elements[-1].start, seed.body
    element, between = body[one.start : one.end], body[one.end : pixels]
    middle = chance.choice((between, element * 2 + between, between + element))
    return seed.packed(body[: one.start] + middle + body[pixels:])


def nested(seed: Seed, chance: random.Random, number: int) -> bytes:
    """Sequences within sequences, up to 20,000 deep; DICOM's nearest to a cycle."""
    depth = chance.choice((1, 10, 500, 2_000, 20_000))
    order = ">" if _order(seed) == "big" else "<"
    tag = struct.pack(
        order + "HH", *chance.choice(((0x0040, 0x0275), (0x0028, 0x3000), (0x5200, 0x9229), (0x0009, 0x1001)))
    )
    undefined, item = struct.pack(order + "L", 0xFFFFFFFF), struct.pack(order + "HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    opening = tag + (b"" if seed.syntax.is_implicit_VR else b"SQ\0\0") + undefined + item
    ends = struct.pack(order + "HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    pixels = seed.elements[-1].start
    return seed.packed(seed.body[:pixels] + opening * depth + ends * chance.choice((0, depth)) + seed.body[pixels:])


def another_syntax(seed: Seed, chance: random.Random, number: int) -> bytes:
    """Another transfer syntax, or none, for the same bytes."""
    tag = chance.choice(_META_TAGS)
    at = seed.content.index(tag + b"UI")
    length = int.from_bytes(seed.content[at + 6 : at + 8], "little")
    uid = _UIDS[number % len(_UIDS)].ljust(length, b"\0")
    content = seed.content[: at + 6] + len(uid).to_bytes(2, "little") + uid + seed.content[at + 8 + length :]
    meta = int.from_bytes(content[140:144], "little") + len(uid) - length
    return _replaced(content, 140, meta.to_bytes(4, "little"))


def codestream_field(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A field of one to four bytes near the beginning of the pixels, at an extreme."""
    pixels = seed.elements[-1].value_at
    size = chance.choice((1, 2, 4))
    value = chance.choice((bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), bytes(size - 1) + b"\x01"))
    return seed.packed(_replaced(seed.body, pixels + chance.randrange(120), value))


def archive_field(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A field of a member's two headers: version, flags, method, time, checksum, sizes (APPNOTE 4.3.7, 4.3.12)."""
    start = chance.choice(_found(seed.content, b"PK\1\2") + _found(seed.content, b"PK\3\4"))
    size = chance.choice((2, 4))
    value = chance.choice((*_LENGTHS, 8, 9, 12, 14, 93)) & (256**size - 1)
    return _replaced(seed.content, start + 4 + chance.randrange(40), value.to_bytes(size, "little"))


def archive_name(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A member's name that leads out of the archive, is a device, a terminal's command, or the other's name."""
    names = (
        b"../../a.dcm",
        b"/etc/a.dcm",
        b"..\\..\\a.d",
        b"C:\\a.dcm",
        b"\x1b[2J\x07.dcm",
        b"IM0000.dcm",
        b"\xff" * 10,
        b"\n\r\n\r.dcm",
    )
    return seed.content.replace(b"IM0001.dcm", chance.choice(names).ljust(10, b"x")[:10])


def directory_name(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A file that lies elsewhere, is a device, or has a name that no disc has, in a DICOMDIR."""
    path = sorted(seed.others)[0].replace("/", "\\").encode()
    names = (
        b"..\\..\\..\\passwd",
        b"/etc/passwd",
        b"\\etc\\passwd",
        b"C:\\x",
        b"\0\0",
        b"\x1b[2J\x07",
        b"\xff\xfe",
        b"/dev/zero",
        b"A" * 80,
    )
    return seed.content.replace(path, chance.choice(names).ljust(len(path), b" ")[: len(path)])


def nifti_field(seed: Seed, chance: random.Random, number: int) -> bytes:
    """A header field at an extreme: shape, type, offset, scale, spacing, orientation."""
    fields = nib.Nifti1Header.template_dtype.fields
    dtype, offset = fields[chance.choice(sorted(fields))][:2]
    base = dtype.base
    if base.kind == "S":
        return seed.packed(_replaced(seed.body, offset, chance.choice((b"\xff" * base.itemsize, bytes(base.itemsize)))))
    extremes = {
        "f": (float("nan"), float("inf"), -float("inf"), 0, -1, 1e30, 1e-30, 3e38, 352.5),
        "i": (0, -1, 1, 2 ** (8 * base.itemsize - 1) - 1, -(2 ** (8 * base.itemsize - 1)), 4, 32, 128, 1536, 1792),
        "u": (0, 1, 255, 7),
    }[base.kind]
    count = dtype.itemsize // base.itemsize
    at = offset + base.itemsize * chance.randrange(count)
    value = chance.choice([value for value in extremes if base.kind == "f" or value < 2 ** (8 * base.itemsize)])
    return seed.packed(_replaced(seed.body, at, base.type(value).tobytes()))


_BYTES: dict[str, Mutation] = {"truncate": truncate, "splice": splice, "flip-packed": flip_packed}
_DATA_SET: dict[str, Mutation] = {
    "flip-header": flip_header,
    "wrong-vr": wrong_vr,
    "wrong-length": wrong_length,
    "absurd-text": absurd_text,
    "nested": nested,
    "syntax": another_syntax,
}
MUTATIONS: dict[str, dict[str, Mutation]] = {
    "dicom": _BYTES
    | _DATA_SET
    | {
        "flip-pixels": flip_pixels,
        "absurd-value": absurd_value,
        "lost-or-doubled": lost_or_doubled,
        "codestream": codestream_field,
    },
    "dicomdir": _BYTES | _DATA_SET | {"name": directory_name},
    "zip": _BYTES | {"field": archive_field, "name": archive_name},
    "nifti": _BYTES | {"field": nifti_field},
}


def case_names(first: int, last: int) -> Iterator[str]:
    """Cases numbered `first` to `last` of every mutation of every seed; truncations are in the first run only."""
    for name, seed in seeds().items():
        for mutation in MUTATIONS[seed.kind]:
            numbers = range(TRUNCATIONS) if mutation == "truncate" else range(first, last)
            yield from (f"{name}/{mutation}/{number}" for number in numbers if mutation != "truncate" or not first)


def mutated(case: str) -> tuple[Seed, bytes]:
    """The seed of a case, and its file's hostile content."""
    name, mutation, number = case.split("/")
    seed = seeds()[name]
    return seed, MUTATIONS[seed.kind][mutation](seed, random.Random(case), int(number))


def _pixels_at(seed: Seed) -> int:
    return seed.elements[-1].start


def _order(seed: Seed) -> str:
    return "little" if seed.syntax.is_little_endian else "big"


def _replaced(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def _flipped(content: bytes, first: int, last: int, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(first, last)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _with_value(seed: Seed, one: Element, value: bytes) -> bytes:
    """The body with another value of the element, and the length to it."""
    value += b"\0" * (len(value) % 2)
    size = 4 if seed.syntax.is_implicit_VR or one.value_at - one.start == 12 else 2
    value = value[: 256**size - 2]
    length = len(value).to_bytes(size, _order(seed))
    return seed.body[: one.value_at - size] + length + value + seed.body[one.end :]


def _found(content: bytes, mark: bytes) -> list[int]:
    starts, at = [], content.find(mark)
    while at >= 0:
        starts.append(at)
        at = content.find(mark, at + 1)
    return starts
