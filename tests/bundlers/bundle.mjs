// Bundles the app in FOLDER for `tests/browser/test_npm.py`: node bundle.mjs BUNDLER FOLDER [BASE].
// "vite-dev" serves it, says where in a line of JSON, until it is
// killed. The others write to FOLDER/dist, for a server that has it at BASE.
import { build as esbuild } from "esbuild";
import { rspack } from "@rspack/core";
import { build as viteBuild, createServer } from "vite";

const [bundler, root, base = "/"] = process.argv.slice(2);
const outdir = `${root}/dist`;
await {
  async "vite-dev"() {
    const server = await createServer({ root, base, logLevel: "error", server: { host: "127.0.0.1", port: 0 } });
    await server.listen();
    console.log(JSON.stringify({ url: server.resolvedUrls.local[0] }));
  },
  async vite() {
    await viteBuild({ root, base, logLevel: "warn" });
  },
  async esbuild() {
    await esbuild({ entryPoints: [`${root}/main.js`], bundle: true, format: "esm", outdir });
  },
  async rspack() {
    const compiler = rspack({ context: root, mode: "production", entry: "./main.js", output: { path: outdir }, performance: false });
    const stats = await new Promise((resolve, reject) => compiler.run((error, done) => (error ? reject(error) : resolve(done))));
    const { errors, warnings } = stats.toJson();
    if (errors.length || warnings.length) throw new Error(stats.toString());
  },
}[bundler]();
