"""The paths of this project's tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
WEB = ROOT / "web"
WEB_LIB = WEB / "lib"
WEB_PAGE = WEB / "page"
# The folders of the npm package.
WEB_PACKAGE_FOLDERS = (WEB_LIB, WEB / "adapters", WEB / "element")
# In the site these become one folder, so no two of their files may have the same name.
WEB_FOLDERS = (*WEB_PACKAGE_FOLDERS, WEB_PAGE)
VENV = ROOT / ".venv"
NODE_MODULES = WEB / "node_modules"
PYODIDE = NODE_MODULES / "pyodide"
BUILDING = SCRIPTS / "building"
LOCKS = SCRIPTS / "locks"
BENCH_PEERS = SCRIPTS / "benchmarks" / "peers"
BUNDLERS = ROOT / "tests" / "bundlers"

# Files that scripts make and can make again. Deleting them only costs time.
CACHE = ROOT / ".cache"
PYODIDE_WHEELS = CACHE / "pyodide-wheels"
PYODIDE_BUILD_WHEELS = CACHE / "pyodide-build-wheels"
NOTEBOOK_WHEELS = CACHE / "notebook-wheels"
BENCH_WHEELS = CACHE / "bench-wheels"
DEBIAN = CACHE / "debian"
GRUB_RESCUE_IMAGE = DEBIAN / "usr" / "lib" / "grub-rescue" / "grub-rescue-usb.img"
BIOS = DEBIAN / "usr" / "share" / "seabios" / "bios.bin"
VGA_BIOS = DEBIAN / "usr" / "share" / "seabios" / "vgabios-stdvga.bin"
