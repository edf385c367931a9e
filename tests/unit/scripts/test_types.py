"""The types of the npm package under `tsc --strict`: all samples, and what must not compile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from building.npm_package import EXPORTS, NAME, package_json
from lib.project import NODE_MODULES, ROOT
from support.readme import blocks

# What a reader of the guide has.
GIVEN = f"""
declare var url: string;
declare var disk: import("{NAME}").Disk;
declare var openDisk: typeof import("{NAME}").openDisk;
declare var attachDisk: typeof import("{NAME}").attachDisk;
declare var connect: typeof import("{NAME}").connect;
declare var port: MessagePort;
declare var file: File;
declare var handle: FileSystemFileHandle;
declare var saves: typeof import("{NAME}").saves;
declare var server: {{ url: string, headers: Record<string, string> }};
declare var container: HTMLElement;
declare var emulators: import("{NAME}/dosbox").Emulators<DosboxCommands>;
interface DosboxCommands {{
  events(): {{
    onStdout(listener: (text: string) => void): void;
    onFrame(listener: (rgb: Uint8Array | null) => void): void;
  }};
  width(): number;
  height(): number;
}}
declare var worker: Worker;
declare module "*?url" {{
  const url: string;
  export default url;
}}
"""

# Pyodide's own types do not compile without those of Node.
PYTHON = """
export function loadPyodide(): Promise<{ FS: any; runPython: (code: string) => unknown }>;
"""

RIGHT = f"""
import {{ attachDisk, diagnose, DiskError, library, openDisk, type DiskOptions }} from "{NAME}";
import {{ Boot }} from "{NAME}/boot";
import {{ mountDisk, type EmscriptenFS, type SyncBlockDisk }} from "{NAME}/emscripten";
import {{ Files }} from "{NAME}/files";
import {{ adapterCases, type Guest }} from "{NAME}/testing";
import {{ v86Disk, type BlockDisk }} from "{NAME}/v86";

const overlay: string | undefined = undefined;
const options: DiskOptions = {{ url: new URL("https://x.example/"), overlay, baseUrl: undefined }};
const disk = await openDisk(options);
const plain: BlockDisk = disk;
const bytes: Uint8Array<ArrayBuffer> = await disk.read(0n, 512, {{ signal: undefined }});
await openDisk({{ image: "local", overlay: ["a", "b"] }});
await openDisk({{ file: new File([], "disk.img"), format: "raw", overlay: "a" }});
await openDisk({{ file: new Blob() }});
declare const handle: FileSystemFileHandle;
await openDisk({{ file: handle }});
const hda = await v86Disk(plain, {{ patienceMs: undefined }});
hda.addEventListener("failure", ({{ failure }}) => failure.retry());
hda.addEventListener("activity", ({{ kind, offset }}) => [kind === "read", offset + bytes.length]);
const boot = new Boot(document.body, {{ disk, V86: undefined }});
boot.addEventListener("activity", (event) => console.log(event.length));
library.addEventListener("change", ({{ detail }}) => console.log(detail.length));
declare const guest: Guest;
for (const {{ run }} of adapterCases(() => guest)) await run();
declare const FS: EmscriptenFS;
const synchronous: SyncBlockDisk = disk;
const mount = mountDisk(FS, synchronous, "/disk", {{ onError: (error) => error.message }});
mount.flush();
for (const entry of (await new Files(disk).list("/")).entries) console.log(entry.name);
try {{
  await diagnose("https://x.example/", {{ allowRemote: true }});
}} catch (error) {{
  if (error instanceof DiskError) console.log(error.name);
}}
export {{ attachDisk }};
"""

# Every line is an error. Without one, `@ts-expect-error` is one itself.
WRONG = f"""
import {{ openDisk }} from "{NAME}";
import {{ Boot }} from "{NAME}/boot";
import {{ v86Disk }} from "{NAME}/v86";
declare const disk: Awaited<ReturnType<typeof openDisk>>;
// @ts-expect-error
openDisk();
// @ts-expect-error
openDisk({{}});
// @ts-expect-error
openDisk({{ allowRemote: true }});
// @ts-expect-error
openDisk({{ url: "https://x.example/", image: "local" }});
// @ts-expect-error
openDisk({{ url: "https://x.example/", allowRemotely: true }});
// @ts-expect-error
openDisk({{ image: "local", allowRemote: true }});
// @ts-expect-error
openDisk({{ file: new Blob(), url: "https://x.example/" }});
// @ts-expect-error
openDisk({{ file: "disk.img" }});
// @ts-expect-error
disk.read("0", 512);
// @ts-expect-error
(await v86Disk(disk)).addEventListener("failure", ({{ fault }}) => fault);
// @ts-expect-error
new Boot(document.body, {{}});
// @ts-expect-error
new Boot(document.body, {{ disk }}).addEventListener("activity", (event) => event.colour);
"""


@pytest.fixture(scope="module")
def types(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package's types where `import` finds them, and those of the site beside."""
    folder = tmp_path_factory.mktemp("types")
    package = folder / "node_modules" / NAME
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps(package_json()))
    (folder / "pyodide").mkdir()
    (folder / "pyodide" / "pyodide.d.mts").write_text(PYTHON)
    for module in site_folder.glob("*.d.mts"):
        shutil.copyfile(module, package / module.name)
        shutil.copyfile(module, folder / module.name)
    return folder


def add_v86(folder: Path) -> None:
    """v86's own types, as npm installs them and where the README's page has it."""
    types = NODE_MODULES / "v86" / "v86.d.ts"
    package = folder / "node_modules" / "v86"
    package.mkdir(exist_ok=True)
    for name in ("package.json", types.name):
        shutil.copyfile(NODE_MODULES / "v86" / name, package / name)
    (folder / "v86").mkdir(exist_ok=True)
    shutil.copyfile(types, folder / "v86" / "libv86.d.mts")


def compile_all(folder: Path, sources: dict[str, str], **options: Any) -> None:
    """Compiles the sources, libraries' types included; fails with the compiler's errors."""
    for old in folder.glob("*.mts"):
        if not old.name.endswith(".d.mts"):
            old.unlink()
    for name, text in sources.items():
        (folder / name).write_text(text)
    config = {
        "compilerOptions": {
            "lib": ["ESNext", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
            "module": "NodeNext",
            "noEmit": True,
            "strict": True,
            "target": "ESNext",
            "types": [],
            **options,
        },
        "files": list(sources),
    }
    (folder / "tsconfig.json").write_text(json.dumps(config))
    command = [NODE_MODULES / ".bin" / "tsc", "--project", folder, "--pretty", "false"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def samples() -> dict[str, str]:
    """Every sample of the README and the guide: blocks of JavaScript, and pages' modules."""
    found = {str(block): block.text for block in blocks("js")}
    for block in blocks("html"):
        for script in re.findall(r'<script type="module">\n(.*?)</script>', block.text, re.DOTALL):
            found[str(block)] = script
    assert len(found) > 8
    return {f"{name}.mts": f"{text}\nexport {{}};\n" for name, text in found.items()}


@pytest.mark.parametrize("exact", [False, True], ids=["plain", "exactOptionalPropertyTypes"])
def test_samples_compile_and_mistakes_do_not(types: Path, exact: bool) -> None:
    add_v86(types)
    own = {"given.d.ts": GIVEN, "right.mts": RIGHT, "wrong.mts": WRONG}
    compile_all(types, own | samples(), exactOptionalPropertyTypes=exact)


def test_types_need_no_other_package(types: Path, tmp_path: Path) -> None:
    shutil.copytree(types / "node_modules" / NAME, tmp_path / "node_modules" / NAME)
    text = "".join(f'export * as x{n} from "{NAME}{name[1:]}";\n' for n, name in enumerate(EXPORTS))
    for resolution in ({"module": "NodeNext"}, {"module": "ESNext", "moduleResolution": "Bundler"}):
        compile_all(tmp_path, {"all.mts": text}, **resolution)


def test_the_readme_names_the_package_as_it_is_called() -> None:
    assert f"npm install {NAME}" in (ROOT / "web" / "guide" / "npm.md").read_text()
