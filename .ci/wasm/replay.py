"""Call the kernels as record.py wrote down, without NumPy, and compare what they leave; replay.mjs runs it."""

import array
import hashlib
import importlib
import pickle

SIZES = {"?": 1, "b": 1, "B": 1, "i": 4, "f": 4, "d": 8, "l": 8, "q": 8}
FORMATS = {"l": "q", "?": "B"}  # as 64 bits, where the platform's long has 32


class Array:
    """An array of a kernel's arguments, in bytes of its own."""

    def __init__(self, char, shape):
        self.char, self.shape = char, shape
        count = 1
        for side in shape:
            count *= side
        self.bytes = bytearray(count * SIZES[char])
        self.narrow = None  # its integers in 32 bits, where a kernel takes Py_ssize_t

    def view(self, narrow):
        """What a kernel takes."""
        if narrow and self.char in "lq":
            if self.narrow is None:
                halves = memoryview(self.bytes).cast("l")  # little-endian
                self.narrow = array.array("l", halves[::2].tolist())
            return cast(memoryview(self.narrow).cast("B"), "l", self.shape)
        return cast(memoryview(self.bytes), FORMATS.get(self.char, self.char), self.shape)

    def write(self, data):
        self.bytes[:] = data
        self.narrow = None

    def hash(self):
        if self.narrow is not None:
            self.bytes[:] = array.array("q", self.narrow).tobytes()
        return hashlib.sha256(self.bytes).digest()


def cast(view, form, shape):
    return view.cast(form, shape) if view.nbytes else view.cast(form)


def same(value, result):
    return repr(value) == repr(result)  # NaN is itself, and 0 is not -0


def replay(path):
    """Return the number of calls, and lines that tell what differs."""
    with open(path, "rb") as file:
        calls = pickle.load(file)
    arrays, objects, differ = {}, {}, []

    def argument(kind, value, narrow):
        if kind == "array":
            return arrays[value].view(narrow)
        if kind == "object":
            return objects[value]
        return bytearray if kind == "allocate" else value

    for number, call in enumerate(calls):
        for key, values in call["before"]:
            if values is not None:
                char, shape, data = values
                arrays.setdefault(key, Array(char, shape)).write(data)
        target, *names = call["path"]
        name = f"call {number}, {target}.{names}"
        target = objects[target] if isinstance(target, int) else module(target)
        for part in names:
            target = target[part[0]] if isinstance(part, list) else getattr(target, part)
        for narrow in (False, True):
            given = [argument(*told, narrow) for told in call["arguments"]]
            named = {key: argument(*told, narrow) for key, told in call["named"].items()}
            try:
                result = target(*given, **named)
            except (ValueError, TypeError) as error:
                if narrow or ("mismatch" not in str(error) and "No matching signature" not in str(error)):
                    raise RuntimeError(name) from error
                continue
            break
        kind, value = call["result"]
        if kind == "object":
            objects[value] = result
        elif not same(value, result):
            differ.append(f"{name}: {value!r}, here {result!r}")
        for key, digest in call["after"].items():
            if arrays[key].hash() != digest:
                differ.append(f"{name}: array {key} of shape {arrays[key].shape}")
    return len(calls), differ


def module(name):
    compiled = name if name in ("box", "regions") else f"{name}_baseline"
    return importlib.import_module(f"graddesc._kernels.{compiled}")
