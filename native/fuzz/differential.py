"""The kernel against `json`, `struct` and numpy: generated arrays of numbers, whose bits must be the same.

python -m native.fuzz.differential --arrays 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import math
import random
import struct
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from function.native.json_kernel import Kernel
from function.native.json_values import NUMBERS

FLOAT_MAX_MIDDLE = 3.4028235677973366e38  # what rounds to infinity
SPACES = ("", "", "", " ", "  ", "\n", "\t \r\n")


def number(rng: random.Random) -> str:  # noqa: PLR0911  (a form each)
    """One JSON number's text: ordinary, of awkward form, or close to the middle between two floats or doubles."""
    kind = rng.randrange(12)
    if kind < 3:
        return repr(rng.gauss(0, 1))
    if kind == 3:
        return f"{rng.gauss(0, 10 ** rng.randint(-8, 8)):.{rng.randint(0, 20)}f}"
    if kind == 4:
        return str(rng.randint(-(10 ** rng.randint(0, 25)), 10 ** rng.randint(0, 25)))
    if kind == 5:
        return str(rng.choice([0, 1 << 24, 1 << 53, 1 << 63, 1 << 64, (1 << 54) + (1 << 30)]) + rng.randint(-3, 3))
    if kind == 6:
        return f"{rng.uniform(-1, 1):.{rng.randint(0, 18)}e}".replace("e", rng.choice("eE"))[:60]
    if kind == 7:
        return f"{rng.choice(['', '-'])}{rng.randint(0, 10**19)}.{rng.getrandbits(70)}e{rng.randint(-345, 285)}"
    if kind == 8:  # any double at all
        value = struct.unpack("<d", rng.randbytes(8))[0]
        return repr(value) if math.isfinite(value) else "-0.0"
    if kind == 9:  # the middle of two floats, as a double has it, and its neighbours
        bits = rng.randint(0x36A, 0x47F) << 52 | rng.getrandbits(23) << 29 | 1 << 28
        middle = struct.unpack("<d", struct.pack("<Q", bits))[0]
        return repr(math.nextafter(middle, rng.choice([-math.inf, middle, math.inf])))
    if kind == 10:  # the middle of two doubles with all its digits, or a digit more or less
        low = abs(struct.unpack("<d", rng.randbytes(8))[0])
        if not math.isfinite(low) or low > 1e300:
            return "0.0"
        with localcontext() as context:
            context.prec = 1200
            middle = (Decimal(low) + Decimal(math.nextafter(low, math.inf))) / 2
            text = f"{middle:e}" if rng.random() < 0.5 or low < 1e-40 or low > 1e40 else f"{middle:f}"
        mantissa, point, rest = text.partition("e")
        if "." not in mantissa:
            mantissa += ".0"
        return mantissa + rng.choice(["", "0", "00000000001", "1", "0" * 800 + "1"]) + point + rest
    return "0." + "0" * rng.randint(0, 40) + str(rng.getrandbits(rng.randint(1, 130)))


def array(rng: random.Random) -> tuple[str, tuple[int, ...]]:
    """The text of an array of 8 numbers or more, and its shape."""
    shape = (*(rng.randint(1, 4) for _ in range(rng.randint(0, 3))), rng.randint(8, 24))

    def level(depth: int) -> str:
        if depth == len(shape):
            return number(rng)
        comma = rng.choice([",", ", ", f"{rng.choice(SPACES)},{rng.choice(SPACES)}"])
        return f"[{rng.choice(SPACES)}{comma.join(level(depth + 1) for _ in range(shape[depth]))}{rng.choice(SPACES)}]"

    return level(0), shape


def check(kernel: Kernel, text: str, shape: tuple[int, ...]) -> None:
    """AssertionError when a path of the kernel reads the array differently from the standard library and numpy."""
    values: list[Any] = [json.loads(text)]
    for _ in shape:
        values = [each for row in values for each in row]
    # Integers beyond 64 bits are doubles.
    values = [each if type(each) is int and -(1 << 63) <= each < 1 << 64 else float(each) for each in values]
    with np.errstate(over="ignore"):
        narrow = [
            np.float32(each if type(each) is float else np.int64(each) if each < 1 << 63 else np.uint64(each))
            for each in values
        ]
    fp32, fp64 = np.array(narrow, np.float32).tobytes(), struct.pack(f"<{len(values)}d", *values)
    view = memoryview(text.encode())
    best = kernel.path
    try:
        for kernel.path in range(best + 1):
            room = kernel.count(view)
            document = kernel.read(view, room, room)
            assert document.kind(0) == NUMBERS, text
            assert document.shape(0) == shape, text
            assert bytes(document.fp32(0, len(values))) == fp32, (kernel.path, text)
            assert document.beyond_fp32(0) == any(abs(each) >= FLOAT_MAX_MIDDLE for each in values), text
            assert bytes(kernel.convert(view, 0, len(values), "d")[0]) == fp64, text
            packed, index, place = kernel.convert(view, 0, len(values), "q")
            wrong = next((at for at, each in enumerate(values) if type(each) is float or each >= 1 << 63), len(values))
            assert index == wrong, text
            assert packed[: 8 * wrong] == struct.pack(f"<{wrong}q", *values[:wrong]), text
            if wrong < len(values):
                assert repr(kernel.number(view, place)) == repr(values[wrong]), text
    finally:
        kernel.path = best


def run(arrays: int, seed: int) -> int:
    """Checks so many arrays; returns how many numbers they had."""
    rng, kernel, numbers = random.Random(seed), Kernel(), 0
    for _ in range(arrays):
        text, shape = array(rng)
        check(kernel, text, shape)
        numbers += math.prod(shape)
    return numbers


def main() -> None:
    """Says how much was compared; ends with the first difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    numbers = run(arguments.arrays, arguments.seed)
    print(f"{arguments.arrays} arrays, {numbers} numbers, seed {arguments.seed}: all the same")


if __name__ == "__main__":
    main()
