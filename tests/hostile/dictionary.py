"""What the fuzzer puts into bodies, headers, paths and queries. Header values are Latin-1, as on the wire."""

from __future__ import annotations

from typing import Any

from tests.hostile.seeds import ADMIN_KEY, LENGTH

TOKENS = (
    *rb"""null true -0 NaN Infinity -1e999 1e-999 {} [] "" \u0000 \ud800 "inputs" "data" "shape" "datatype" "parameters"
    "binary_data_size" "outputs" "classification" "name" "image" "tensors" "BYTES" "FP16" "BF16" "INT64" "BOOL" --b
    --b-- RIFF VP8L IHDR acTL iCCP eXIf ANMF data:image/png;base64, /* ' ../ %ff %00 ,, :""".split(),
    *(b"\xff\xfe", b"\0", b"\r\n\r\n", b"filename*=utf-8''%ff", b"\x1f\x8b\x08\0", b"\x78\x9c", b"\t"),
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u0663".encode()),
)
NUMBERS = (
    *b"""0 -1 1 -0 255 256 65535 65536 2147483647 2147483648 -2147483649 4294967296 9223372036854775807 1e308 1e309
    9223372036854775808 18446744073709551616 -1e-400 0.1e1 1E400 00 1. .5 0x10 150528""".split(),
    *(b"1" * 400, b"9" * 5000),
)
HEADERS: dict[str, tuple[str, ...]] = {
    "content-encoding": (
        *("gzip", "deflate", "br", "identity", "gzip, gzip", "GZIP", "", "gzip;q=0", "x" * 300, "zstd", "é"),
    ),
    "content-type": (
        *(
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary="b',
        ),
        *("multipart/form-data; boundary=" + "b" * 300, "image/png", "text/plain; charset=utf-16", "", "/"),
        *("MULTIPART/FORM-DATA; BOUNDARY=b", "multipart/form-data; boundary=é"),
    ),
    LENGTH: (
        *(
            "0",
            "1",
            "40",
            "-1",
            "+5",
            "5 5",
            "1e3",
            "0x10",
            "99999999999999999999",
            "",
            "²",
            "12, 12",
            "1_0",
            "9" * 5000,
        ),
    ),
    "accept-encoding": (
        *("gzip", "deflate;q=0.5, gzip;q=0", "*", ";;;q", "gzip;q=nan", "br", "gzip;q=" + "1" * 400, ",", "gzip;q=²"),
    ),
    "x-admin-key": (ADMIN_KEY, "", "é", "k" * 5000),
    "traceparent": (
        *(f"00-{'a' * 32}-{'b' * 16}-01", "ff-0-0-0", f"00-{'0' * 32}-{'0' * 16}-00", "é", "00-" + "²" * 32 + "-1-1"),
    ),
    "x-request-id": ("a" * 3000, "{}", '"', "ü"),
    "x-amzn-trace-id": ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", "Root=;;=", "=" * 500),
    "cookie": ("a=b", ";" * 500),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = (
    *[
        "/",
        "//",
        "/v2/models//infer",
        "/v2/models/%00/infer",
        "/v2/models/digits/versions/2/infer",
        "/v1/models/none/infer",
        "/classify/",
        "/v2/models/..%2f..%2fetc/infer",
        "/v2/models/%ff",
        "/v2/models/%e2%98%83/ready",
        "/a%0d%0ab",
        "/%2e%2e/",
        "/v2/models/a+b",
        "/health%",
        "/v2/models/%ed%a0%80",
        "/%%%",
        "/v1/models/digits%2finfer",
        "/V2/health/live",
        "/v2/models/digits/versions/1/infer/",
    ],
    "/v2/models/" + "x" * 3000,
)
IN_PATH = ["%ff", "%", "%2f", "/", "+", "%25", "%c3%a9", "%00", "\\", "..", ";", ":", "@", "~", "|"]
QUERIES = (
    *[
        "top_k=0",
        "top_k=-1",
        "top_k=1e9",
        "top_k=99999999999999999999",
        "top_k=",
        "top_k",
        "top_k=%31",
        "top_k=+3",
        "top_k=3&top_k=2",
        "top_k=%ff",
        "%ff=1",
        "&&&",
        "=",
        "a=b=c",
        "top_k=%d9%a3",
        "top_k=1;top_k=2",
        "%",
        "a=%zz",
        "top_k=%00",
        "%74op_k=2",
        "top_k=%c2%b2",
    ],
    "x=" + "y" * 3000,
    "&".join(f"p{number}={number}" for number in range(200)),
)
# Values that stand in an event where others should be.
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 5, 1e308, 10**30, "", "x", "%ff", "\ud800", "é", "\0", "a\r\nb: c", "x" * 3000),
    *([], [5], [None], {}, {"a": 1}, [[]]),
)
EVENT_KEYS = [
    "Records",
    "requestContext",
    "body",
    "headers",
    "isBase64Encoded",
    "inputs",
    "image",
    "version",
    "source",
    "multiValueHeaders",
]
