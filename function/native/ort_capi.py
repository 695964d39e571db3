"""ONNX Runtime's C API by ctypes: the library, its functions by name, its statuses as Python errors.

Importing numpy and the onnxruntime package costs 150 ms of a cold start; the shared library in the same wheel
costs 20. Function numbers are positions in `struct OrtApi` of onnxruntime_c_api.h, which only ever grows.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

API_VERSION = 24  # the oldest header with everything used here; ORT >= 1.24 answers it
LOG_ERROR = 3
_INSTALL = "pip install --force-reinstall -r requirements/function.txt"

# name -> (position in OrtApi, whether it returns a status, argument types)
_P, _PP, _SIZES, _TEXTS = c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_char_p)
_FUNCTIONS: dict[str, tuple[int, bool, tuple[Any, ...]]] = {
    "GetErrorCode": (1, False, (_P,)),
    "GetErrorMessage": (2, False, (_P,)),
    "CreateEnv": (3, True, (c_int, c_char_p, _PP)),
    "CreateSession": (7, True, (_P, c_char_p, _P, _PP)),
    "CreateSessionFromArray": (8, True, (_P, c_char_p, c_size_t, _P, _PP)),
    "Run": (9, True, (_P, _P, _TEXTS, _PP, c_size_t, _TEXTS, c_size_t, _PP)),
    "CreateSessionOptions": (10, True, (_PP,)),
    "SetSessionGraphOptimizationLevel": (23, True, (_P, c_int)),
    "SetIntraOpNumThreads": (24, True, (_P, c_int)),
    "SessionGetInputCount": (30, True, (_P, _SIZES)),
    "SessionGetOutputCount": (31, True, (_P, _SIZES)),
    "SessionGetInputTypeInfo": (33, True, (_P, c_size_t, _PP)),
    "SessionGetOutputTypeInfo": (34, True, (_P, c_size_t, _PP)),
    "SessionGetInputName": (36, True, (_P, c_size_t, _P, _PP)),
    "SessionGetOutputName": (37, True, (_P, c_size_t, _P, _PP)),
    "CreateRunOptions": (39, True, (_PP,)),
    "CreateTensorAsOrtValue": (48, True, (_P, POINTER(c_int64), c_size_t, c_int, _PP)),
    "CreateTensorWithDataAsOrtValue": (49, True, (_P, _P, c_size_t, POINTER(c_int64), c_size_t, c_int, _PP)),
    "GetTensorMutableData": (51, True, (_P, _PP)),
    "GetStringTensorDataLength": (53, True, (_P, _SIZES)),
    "GetStringTensorContent": (54, True, (_P, _P, c_size_t, _SIZES, c_size_t)),
    "CastTypeInfoToTensorInfo": (55, True, (_P, _PP)),
    "GetTensorElementType": (60, True, (_P, POINTER(c_int))),
    "GetDimensionsCount": (61, True, (_P, _SIZES)),
    "GetDimensions": (62, True, (_P, POINTER(c_int64), c_size_t)),
    "GetTensorTypeAndShape": (65, True, (_P, _PP)),
    "CreateCpuMemoryInfo": (69, True, (c_int, c_int, _PP)),
    "AllocatorFree": (76, True, (_P, _P)),
    "GetAllocatorWithDefaultOptions": (78, True, (_PP,)),
    "ReleaseStatus": (93, False, (_P,)),
    "ReleaseSession": (95, False, (_P,)),
    "ReleaseValue": (96, False, (_P,)),
    "ReleaseRunOptions": (97, False, (_P,)),
    "ReleaseTypeInfo": (98, False, (_P,)),
    "ReleaseTensorTypeAndShapeInfo": (99, False, (_P,)),
    "ReleaseSessionOptions": (100, False, (_P,)),
    "AddSessionConfigEntry": (130, True, (_P, c_char_p, c_char_p)),
    "CreateAndRegisterAllocator": (144, True, (_P, _P, _P)),
    "AddRunConfigEntry": (165, True, (_P, c_char_p, c_char_p)),
    "GetResizedStringTensorElementBuffer": (252, True, (_P, c_size_t, c_size_t, _PP)),
    "AddExternalInitializersFromFilesInMemory": (279, True, (_P, _TEXTS, _TEXTS, _SIZES, c_size_t)),
}
# Long calls release the GIL. Short ones keep it: to get it back would take longer than the call itself.
_WITHOUT_GIL = {"CreateEnv", "CreateSession", "CreateSessionFromArray", "ReleaseSession", "Run"}


class OrtError(Exception):
    """ONNX Runtime refused: `code` is an OrtErrorCode number (2: invalid argument), the text is ORT's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class OrtMemoryError(OrtError, MemoryError):
    """ONNX Runtime could not have the memory that it asked for; it goes on."""


# Texts of ORT's errors that mean lack of memory, for which it has no code: from new, the arena, mmap, threads.
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "Cannot allocate memory", "pthread_create")
_NO_MAPPING = "failed to map segment from shared object"  # ends the text where memory is short; else a reason follows


def _error(code: int, message: str) -> OrtError:
    return (OrtMemoryError if any(each in message for each in _NO_MEMORY) else OrtError)(code, message)


def find_library() -> str:
    """The path of libonnxruntime in the installed onnxruntime wheel; OrtError when there is none."""
    for folder in sys.path:
        capi = os.path.join(folder or ".", "onnxruntime", "capi")
        try:
            names = os.listdir(capi)
        except OSError:
            continue
        for name in sorted(names):
            if name.startswith(("libonnxruntime.so.", "libonnxruntime.1", "libonnxruntime.dylib")):
                return os.path.join(capi, name)
    raise OrtError(3, f"libonnxruntime was not found on sys.path; install it: {_INSTALL}")


initialising = threading.Event()  # ORT's own initialisation has begun: 15 ms in which the GIL is free


class Library:
    """The loaded library: one environment, one CPU memory description and the functions of _FUNCTIONS."""

    def __init__(self, path: str) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when the library is loaded
        try:
            library = ctypes.CDLL(path)
        except OSError as error:  # cut short, or built for another machine
            if str(error).endswith(_NO_MAPPING) or isinstance(_error(3, str(error)), MemoryError):
                raise OrtMemoryError(3, str(error)) from error
            raise OrtError(3, f"{error}; install it anew: {_INSTALL}") from error
        library.OrtGetApiBase.restype = POINTER(c_void_p)
        base = library.OrtGetApiBase()
        get_api = ctypes.CFUNCTYPE(POINTER(c_void_p), c_uint32)(base[0])
        self.version: str = ctypes.CFUNCTYPE(c_char_p)(base[1])().decode()
        table = get_api(API_VERSION)
        if not table:
            raise OrtError(3, f"{path} is ONNX Runtime {self.version}: API {API_VERSION} (1.24 or newer) is needed")
        for name, (position, has_status, arguments) in _FUNCTIONS.items():
            result: Any = c_char_p if name == "GetErrorMessage" else c_int if name == "GetErrorCode" else None
            kind = ctypes.CFUNCTYPE if name in _WITHOUT_GIL else ctypes.PYFUNCTYPE
            prototype = kind(c_void_p if has_status else result, *arguments)
            function = prototype(table[position])
            setattr(self, name, self._checked(function) if has_status else function)
        self.env = 0
        self.spent = False  # what a failed initialisation leaves in the library makes each later one fail

    def initialise(self) -> None:
        """Makes ORT's environment, 15 ms, the GIL free; OrtError when ORT cannot, and then never with this copy."""
        initialising.set()
        self.spent = True
        env = self.create("CreateEnv", LOG_ERROR, b"zeroserve")
        self.allocator = self.create("GetAllocatorWithDefaultOptions")
        self.memory = self.create("CreateCpuMemoryInfo", 0, 0)
        # One arena for the sessions of all graphs: what one gives back, the next one takes.
        self.CreateAndRegisterAllocator(env, self.create("CreateCpuMemoryInfo", 1, 0), None)
        self.env = env  # set last: other threads take it as the sign that all of this is ready

    def _checked(self, function: Callable[..., int | None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            status = function(*arguments)
            if status:
                error = _error(self.GetErrorCode(status), self.GetErrorMessage(status).decode(errors="replace"))
                self.ReleaseStatus(status)
                raise error

        return call

    def create(self, name: str, *arguments: object) -> int:
        """Calls a function whose last argument is an out-pointer and returns what it points to (0 for NULL)."""
        out = c_void_p()
        getattr(self, name)(*arguments, byref(out))
        return out.value or 0

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


_api: Library | None = None
_api_lock = threading.Lock()


def load_library() -> Library:
    """The library, loaded on first need and kept for the life of the process; its version can be asked, no more."""
    global _api  # noqa: PLW0603  (one library per process)
    if _api is None:
        with _api_lock:
            if _api is None:
                _api = Library(find_library())
    return _api


def get_library() -> Library:
    """The library, ready for use."""
    found = load_library()
    if not found.env:
        with _api_lock:
            if _api is not None:
                found = _api  # another thread may have replaced it
            if not found.env:
                if found.spent:
                    return _replaced()
                found.initialise()
    return found


def reload() -> None:
    """Puts a second copy of the library in place of the first, which chose its kernels for the CPU it was loaded on.

    Sessions that exist keep the first.
    """
    with _api_lock:
        _replaced()


def _replaced() -> Library:
    """A copy of the file, as the loader would give back the one that it has; _api_lock is held."""
    import shutil
    import tempfile

    global _api  # noqa: PLW0603
    with tempfile.TemporaryDirectory() as folder:
        copy = Library(shutil.copy(find_library(), folder))
    copy.initialise()
    _api = copy
    return copy
