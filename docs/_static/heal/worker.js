// The worker of the page "Heal your photograph": it loads Pyodide, NumPy and graddesc, and restores pictures.
//
// It takes { kind: "heal", pyodide, pixels, missing, rows, cols, loss }, where `pyodide` is the address of Pyodide's
// folder and the pixels are RGB. It answers { kind: "status", text }, { kind: "picture", iteration, pixels } while the
// picture heals, and { kind: "done", pixels, seconds, message } or { kind: "error", text } at the end.

let python = null; // Pyodide, and the function that heals

async function load(address) {
  const say = (text) => postMessage({ kind: "status", text });
  say("Loading Python …");
  const { loadPyodide } = await import(`${address}pyodide.mjs`);
  const pyodide = await loadPyodide({ indexURL: address });
  say("Loading NumPy …");
  await pyodide.loadPackage("numpy", { messageCallback: () => {} });
  say("Loading graddesc …");
  const [wheel, code] = await Promise.all([fetched("graddesc.whl"), fetched("heal.py")]);
  if (wheel === null) throw new Error("This copy of the site was built without graddesc for browsers.");
  const folder = pyodide.runPython("import sysconfig; sysconfig.get_paths()['purelib']");
  pyodide.unpackArchive(wheel, "wheel", { extractDir: folder });
  const names = pyodide.globals.get("dict")();
  pyodide.runPython(new TextDecoder().decode(code), { globals: names });
  return { pyodide, heal: names.get("heal") };
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
}

function bytes(array) {
  const view = array.getBuffer("u8");
  const copy = view.data.slice();
  view.release();
  return copy;
}

self.onmessage = async ({ data }) => {
  try {
    python ??= await load(data.pyodide);
    const { pyodide, heal } = python;
    const show = (iteration, picture) => {
      const pixels = bytes(picture);
      postMessage({ kind: "picture", iteration, pixels }, [pixels.buffer]);
    };
    postMessage({ kind: "status", text: "Healing …" });
    const [given, missing] = [pyodide.toPy(data.pixels), pyodide.toPy(data.missing)]; // memoryviews
    const result = heal(given, missing, data.rows, data.cols, data.loss, show);
    const [restored, seconds, message] = result;
    const pixels = bytes(restored);
    [given, missing, result, restored].forEach((proxy) => proxy.destroy());
    postMessage({ kind: "done", pixels, seconds, message }, [pixels.buffer]);
  } catch (error) {
    const lines = String(error.message ?? error).trim().split("\n"); // of a traceback the last line
    postMessage({ kind: "error", text: lines[lines.length - 1].replace(/^\w*Error: /, "") });
  }
};
