"""A browser for tests, driven through the pipe of its own protocol for debugging."""

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess

import numpy as np
from PIL import Image

PATH = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)

_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
]


class Page:
    """A tab of a browser that shows one address."""

    def __init__(self, send, receive, address, width, height, *, dark=False):
        self._send, self._receive, self._count, self._session = send, receive, 0, None
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", features=[scheme])
        self._do("Page.enable")
        self._do("Page.navigate", url=address)
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def _wait(self, wanted):
        while True:
            message = self._receive()
            if wanted(message):
                return message

    def _do(self, method, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._send(message | ({"sessionId": self._session} if self._session else {}))
        answer = self._wait(lambda message: message.get("id") == self._count)
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript."""
        answer = self._do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self._do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def mouse(self, kind, x, y):
        """Move the mouse, press or release its button."""
        self._do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self):
        """Return what is seen, shape (rows, cols, 3)."""
        data = base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@contextlib.contextmanager
def opened(directory):
    """Start a browser; give a function that opens an address in it: see `Page`."""
    to_browser, ours = os.pipe()
    theirs, from_browser = os.pipe()[::-1]

    def hand_over():
        os.dup2(to_browser, 3)
        os.dup2(theirs, 4)

    # The numbers 3 and 4 are fixed; what is there now must not be closed before it is moved.
    low = [os.dup(end) for end in (to_browser, theirs)]
    to_browser, theirs = (os.dup(end) for end in low)
    process = subprocess.Popen(
        [PATH, *_ARGUMENTS, f"--user-data-dir={directory}"],
        preexec_fn=hand_over,
        close_fds=False,
        pass_fds=(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with open(from_browser, "rb") as answers:

        def send(message):
            os.write(ours, json.dumps(message).encode() + b"\0")

        rest = bytearray()

        def receive():
            while b"\0" not in rest:
                piece = answers.read1(65536)
                assert piece, "the browser has gone"
                rest.extend(piece)
            message, _, rest[:] = rest.partition(b"\0")
            return json.loads(message)

        try:
            yield lambda *arguments, **settings: Page(send, receive, *arguments, **settings)
        finally:
            process.kill()
            process.wait()
            for end in (ours, to_browser, theirs, *low):
                os.close(end)
