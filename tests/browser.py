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
    """A tab of a browser that shows one address.

    `errors` holds what the page wrote to the console as an error, exceptions, and what could not be loaded.
    """

    def __init__(self, send, receive, address, width, height, *, dark=False):
        self._send, self._receive, self._count, self._session = send, receive, 0, None
        self.errors = []
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.resize(width, height)
        self.prefer(dark=dark)
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self._do(f"{domain}.enable")
        self.open(address)

    def resize(self, width, height):
        """Give the window a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, *, dark):
        """Say which colours the reader prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", features=[scheme])
        # Scripts hear of it with the next frame.
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open(self, address):
        """Show another address."""
        self._do("Page.navigate", url=address)
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def _wait(self, wanted):
        while True:
            message = self._receive()
            self._note(message)
            if wanted(message):
                return message

    def _note(self, message):
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

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

    def click(self, selector):
        """Click in the middle of an element, with the mouse."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({element}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def choose_files(self, selector, *paths):
        """Choose files in an input."""
        root = self._do("DOM.getDocument")["root"]["nodeId"]
        node = self._do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._do("DOM.setFileInputFiles", files=[str(path) for path in paths], nodeId=node)

    def wait_until(self, expression, seconds=20):
        """Wait until an expression of JavaScript is true."""
        assert self.evaluate(
            f"""new Promise((done) => {{
                const end = Date.now() + {1000 * seconds};
                const look = () => ({expression}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 10);
                look();
            }})"""
        ), f"{expression} did not come true in {seconds} s"

    def overflow(self):
        """What is wider than the window: the page, or elements that stick out and that no box around them scrolls."""
        return self.evaluate(
            """(() => {
                const width = document.documentElement.clientWidth;
                const excess = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - width;
                const scrolls = (element) => {
                    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
                        if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)
                            && box.getBoundingClientRect().right <= width + 1
                            && !box.querySelector("h1")) return true;  // not the page as a whole
                    }
                    return false;
                };
                const out = [...document.querySelectorAll("body *")].filter((element) => {
                    const { left, right, width: wide, height } = element.getBoundingClientRect();
                    return wide > 1 && height > 1 && element.checkVisibility({ visibilityProperty: true })
                        && right > 0 && left < width && (right > width + 1 || left < -1) && !scrolls(element);
                });
                return [...(excess > 0 ? [`the page, by ${excess} pixels`] : []),
                    ...out.slice(0, 5).map((element) => element.outerHTML.slice(0, 150))];
            })()"""
        )

    def names(self):
        """The roles and accessible names of all that a reader can act on, in their order."""
        nodes = self._do("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "checkbox", "combobox", "link", "radio", "slider", "textbox"}
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if node.get("role", {}).get("value") in roles
        ]

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
