// Call the kernels of a wheel for Pyodide as record.py wrote down. Usage: node replay.mjs PYODIDE WHEEL TAPE, where
// PYODIDE is the folder of the npm package. Exits with 1 if a bit differs.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, wheel, tape] = process.argv.slice(2);

async function main() {
  const { loadPyodide } = await import(pathToFileURL(path.resolve(folder, "pyodide.mjs")));
  const pyodide = await loadPyodide();
  pyodide.unpackArchive(new Uint8Array(fs.readFileSync(wheel)), "wheel");
  pyodide.FS.writeFile("/tape", fs.readFileSync(tape));
  pyodide.runPython(fs.readFileSync(new URL("replay.py", import.meta.url), "utf8"));
  const [count, differ] = pyodide.runPython("replay('/tape')").toJs();
  console.log(`${count} calls, ${differ.length} differences`);
  differ.slice(0, 20).forEach((line) => console.log(line));
  return Number(count === 0 || differ.length > 0);
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(String(error.message ?? error).slice(0, 4000)); // the stack has the whole of Pyodide's script
    process.exit(1);
  },
);
