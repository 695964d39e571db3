"""The multipart reader, against the bodies that curl, browsers and the email package write, and against damage."""

from __future__ import annotations

import random
import tracemalloc
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.codecs.multipart import first_file
from function.errors import PredictError

CURL = "multipart/form-data; boundary=------------------------d74496d66958873e"


def form(*parts: tuple[str, bytes], boundary: str = "b", end: str = "--\r\n") -> bytes:
    """Each part: its header lines, and its content."""
    lines = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join(lines) + f"--{boundary}{end}".encode()


def part(parameters: str, content: bytes = b"pixels") -> tuple[str, bytes]:
    return f"Content-Disposition: form-data; {parameters}\r\nContent-Type: image/png", content


def test_as_curl_sends_it() -> None:
    body = (
        b"--------------------------d74496d66958873e\r\n"
        b'Content-Disposition: form-data; name="top_k"\r\n\r\n5\r\n'
        b"--------------------------d74496d66958873e\r\n"
        b'Content-Disposition: form-data; name="image"; filename="cat.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n"
        b"\xff\xd8\xff\r\n\r\n--\x00\r\n"
        b"--------------------------d74496d66958873e--\r\n"
    )
    assert first_file(body, CURL) == b"\xff\xd8\xff\r\n\r\n--\x00"


@pytest.mark.parametrize(
    "chosen",
    [
        'name="image"',
        "name=image",
        'name="file"',
        'name="upload"; filename="x.png"',
        'name="upload"; filename=""',
        "name=\"upload\"; filename*=UTF-8''%e2%82%ac.png",
        'filename="a;name=b.png"; name="upload"',
        'name="a\\"; filename=b"; filename="c"',
        'NAME="image"',
    ],
)
def test_which_part_is_taken(chosen: str) -> None:
    body = form(part('name="a"', b"no"), part('name="a; filename=x"', b"no"), part(chosen), part('name="image"', b"no"))
    assert first_file(body, "multipart/form-data; boundary=b") == b"pixels"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=b",
        'multipart/form-data; boundary="b"',
        "Multipart/Form-Data;charset=utf-8;BOUNDARY=b",
        'multipart/form-data; x="a;boundary=c"; boundary=b ; boundary=d',
    ],
)
def test_boundaries(content_type: str) -> None:
    assert first_file(form(part("name=image")), content_type) == b"pixels"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "b" * 71,
        "multipart/form-data; boundary=é",
    ],
)
def test_boundaries_that_are_none(content_type: str) -> None:
    with pytest.raises(PredictError, match="must name a boundary") as caught:
        first_file(form(part("name=image")), content_type)
    assert caught.value.status == 400


def test_what_may_stand_around_the_parts() -> None:
    body = form(("", b"a part without headers"), part("name=image"))
    assert first_file(b"preamble\r\n" + body + b"epilogue", "multipart/form-data; boundary=b") == b"pixels"
    padded = body.replace(b"--b\r\n", b"--b \t\r\n")
    assert first_file(padded, "multipart/form-data; boundary=b") == b"pixels"
    empty = form(part("name=image", b""))
    assert first_file(empty, "multipart/form-data; boundary=b") == b""


def test_content_that_looks_like_a_boundary() -> None:
    content = b"x--b\r\n--bc\r\n --b--\r\n\r\n--b x\r\n--"
    assert first_file(form(part("name=image", content)), "multipart/form-data; boundary=b") == content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n",
        b"--c\r\nContent-Disposition: form-data; name=image\r\n\r\npixels\r\n--c--",
        b"--bb\r\nContent-Disposition: form-data; name=image\r\n\r\npixels\r\n--b--",
        b"--b\nContent-Disposition: form-data; name=image\n\npixels\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=image\r\npixels\r\n--b--",
        form(part("name=image"))[:-5],
        form(part("name=image"))[:-6],
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_malformed_bodies(body: bytes) -> None:
    with pytest.raises(PredictError, match="cut off, or not multipart") as caught:
        first_file(body, "multipart/form-data; boundary=b")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"--b--\r\n", "none"),
        (b"x--b\r\nContent-Disposition: form-data; name=image\r\n\r\npixels\r\n--b--", "none"),
        (form(part('name="picture"'), part('name="a"')), "'picture', 'a'"),
        (form(("X: y", b"image")), "''"),
    ],
)
def test_a_form_without_a_file_says_what_it_has(body: bytes, fields: str) -> None:
    with pytest.raises(PredictError, match=f"its fields are: {fields};") as caught:
        first_file(body, "multipart/form-data; boundary=b")
    assert caught.value.status == 400


BOUNDARIES = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=20)


@settings(deadline=None)  # the machine may be busy
@given(content=st.binary(), other=st.binary(), boundary=BOUNDARIES, name=st.text("abc \\;é€"))
def test_any_content_comes_through(content: bytes, other: bytes, boundary: str, name: str) -> None:
    delimiter = b"\r\n--" + boundary.encode()
    if delimiter in b"\r\n" + content + b"\r\n" or delimiter in b"\r\n" + other + b"\r\n":
        return
    body = form(part("name=x", other), part(f'name="y"; filename="{name}"', content), boundary=boundary)
    assert first_file(body, f'multipart/form-data; boundary="{boundary}"') == content


@settings(deadline=None)  # the machine may be busy
@given(content=st.binary(min_size=1))
def test_the_email_package_reads_and_writes_the_same(content: bytes) -> None:
    message = MIMEMultipart("form-data")
    item = EmailMessage()
    item.set_content(content, maintype="image", subtype="png", cte="base64")
    item["Content-Disposition"] = 'form-data; name="image"; filename="a.png"'
    message.attach(item)
    written = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    body = written.partition(b"\r\n\r\n")[2]
    payload = item.as_bytes(policy=item.policy.clone(linesep="\r\n")).partition(b"\r\n\r\n")[2]
    assert first_file(body, message["Content-Type"].replace("\n", "")) == payload


# Limits


def refused(body: bytes) -> str:
    with pytest.raises(PredictError) as caught:
        first_file(body, "multipart/form-data; boundary=b")
    assert caught.value.status == 400
    return caught.value.message


def test_a_head_of_16_kib_is_taken_and_a_longer_one_is_not() -> None:
    disposition = "Content-Disposition: form-data; name=image\r\nX: "
    fitting = "x" * (16 * 1024 - len(disposition) - 2)
    assert first_file(form((disposition + fitting, b"pixels")), "multipart/form-data; boundary=b") == b"pixels"
    for more in ("x", "x" * 100_000):
        assert "head of part 1 of the form is longer than 16 KiB" in refused(form((disposition + fitting + more, b"")))
    assert "head of part 2 of the form" in refused(form(part("name=a"), (disposition + fitting + "x", b"")))


def test_a_head_of_32_lines_is_taken_and_a_longer_one_is_not() -> None:
    lines = [*["X: y"] * 31, "Content-Disposition: form-data; name=image"]
    assert first_file(form(("\r\n".join(lines), b"pixels")), "multipart/form-data; boundary=b") == b"pixels"
    assert "longer than 16 KiB or 32 lines" in refused(form(("\r\n".join(["X: y", *lines]), b"pixels")))


def test_a_file_among_the_first_100_parts_is_found_and_no_later_one() -> None:
    others = [part(f"name=f{number}", b"1") for number in range(100)]
    assert first_file(form(*others[:99], part("name=image")), "multipart/form-data; boundary=b") == b"pixels"
    assert "first 100 parts of the form have no file" in refused(form(*others, part("name=image")))


def test_the_message_names_ten_fields_in_short() -> None:
    message = refused(form(*(part(f"name=f{number}{'x' * 500}", b"1") for number in range(12))))
    assert message.count("f9x") == 1
    assert "and 2 more" in message
    assert len(message) < 1000
    assert "f9'; send" in refused(form(*(part(f"name=f{number}", b"1") for number in range(10))))


def test_lines_that_look_like_the_boundary() -> None:
    content = b"\r\n--bx" * 900
    assert first_file(form(part("name=image", content)), "multipart/form-data; boundary=b") == content
    assert "choose another boundary" in refused(form(part("name=image", content * 2)))


DISPOSITION = b"--b\r\nContent-Disposition: form-data; name="
HOSTILE: dict[str, tuple[bytes, bytes, int, bytes]] = {  # what stands before, what is repeated, how often, the end
    "16 million lines": (b"--b\r\n", b"a\r\n", 16_000_000, b"\r\n1\r\n--b--\r\n"),
    "1.2 million parts": (b"", DISPOSITION + b"f\r\n\r\n1\r\n", 1_200_000, b"--b--"),
    "8 million lines like the boundary": (b"--b\r\nX: y\r\n\r\n", b"\r\n--bx", 8_000_000, b"\r\n--b--"),
    "a head without an end": (b"--b\r\n", b"a: b\r\n", 10_000_000, b""),
    "blanks behind each boundary": (b"--b\r\n\r\n\r\n", b"\r\n--b" + bytes(60_000).replace(b"\0", b" "), 1000, b""),
    "a name of 60 MB": (DISPOSITION, b"x;", 30_000_000, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_form_needs_little_memory_beside_itself(name: str) -> None:
    before, repeated, times, end = HOSTILE[name]
    body = before + repeated * times + end
    tracemalloc.start()
    try:
        refused(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_damage_is_a_400_or_a_part() -> None:
    """2,000 bodies with one byte changed and every truncation: an answer or a PredictError, nothing else."""
    generator = random.Random(20261121)
    whole = form(part('name="a"'), part('name="image"; filename="x"', bytes(range(256))), part('name="b"'))
    bodies = [whole[:size] for size in range(len(whole))]
    for _ in range(2000):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] = generator.randrange(256)
        bodies.append(bytes(damaged))
    statuses = [status_of(body) for body in bodies]
    assert set(statuses) == {200, 400}
    assert statuses[: len(whole)].count(200) < len(part('name="b"')[0]) + 50


def status_of(body: bytes) -> int:
    try:
        first_file(body, "multipart/form-data; boundary=b")
    except PredictError as error:
        return error.status
    return 200
