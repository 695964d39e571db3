// node classify.mjs URL FILE: posts the file by Node's own fetch, as a buffer of a known length and as a stream.
import { readFile } from "node:fs/promises";

const [url, file] = process.argv.slice(2);
const picture = await readFile(file);
const bodies = [
  () => ({ body: picture }),
  () => ({ body: new Blob([picture]).stream(), duplex: "half" }), // chunked
  () => {
    const form = new FormData();
    form.append("image", new Blob([picture], { type: "image/png" }), "digit.png");
    return { body: form };
  },
];
for (const make of bodies) {
  const answer = await fetch(url, { method: "POST", ...make() });
  console.log(answer.status, (await answer.text()).trim());
}
