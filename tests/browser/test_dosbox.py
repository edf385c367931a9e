"""DOSBox in a browser, over a streamed disk with an overlay."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS
from browser.conftest import Console
from support import dos_images
from support.readme import EXAMPLE_URL, blocks

pytestmark = pytest.mark.timeout(600)
# DOSBox-X's build for stack switching ends by throwing what is no error, and nobody catches it.
ENDS_BY_THROWING = "^uncaught: (undefined|Object)$"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    with dos_images.served(tmp_path_factory.mktemp("dos")) as server:
        yield server


(SAMPLE,) = [block.text for block in blocks("js") if "./dosbox.mjs" in block.text]
OPEN = """async ({ site, url }) => {
  const script = document.createElement("script");
  const loaded = new Promise((resolve, reject) => {
    Object.assign(script, { onload: resolve, onerror: reject });
  });
  script.src = `${site}emulators/emulators.js`;
  document.documentElement.append(script);
  await loaded;
  const { openDisk } = await import(`${site}aero-disk.mjs`);
  const { dosboxXScript, startDosbox } = await import(`${site}dosbox.mjs`);
  globalThis.dosboxX = dosboxXScript().replace(/\\.js$/, "");
  const options = { readAhead: false, bootProfile: null, retry: { tries: 1 } };
  globalThis.disk = await openDisk({ url, allowRemote: true, overlay: "dos", ...options });
  globalThis.start = async (script, commands, config) => {
    globalThis.printed = "";
    globalThis.failures = [];
    globalThis.dos = await startDosbox({ c: disk }, {
      emulators,
      scriptUrl: `${site}emulators/${script}.js`,
      commands,
      config,
      onFailure: (failure) => failures.push(failure),
    });
    dos.events().onStdout((text) => (printed += text));
  };
}"""


def open_disk(page: Page, site: SiteServer, url: str) -> None:
    page.goto(f"{site.url}manifest.json")
    page.evaluate(OPEN, {"site": site.url, "url": url})


def wait_for(page: Page, condition: str) -> None:
    page.wait_for_function(condition, timeout=BOOT_TIMEOUT_MS, polling=250)


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_program_runs_from_a_streamed_disk_and_what_it_writes_is_found_later(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    image = images.image("disk.img")
    open_disk(page, site, images.url("disk.img"))
    commands = ["c:", "hello", "type data.txt", "echo written in DOS> new.txt", "pause", "dir"]
    page.evaluate("() => disk.read(0, 512)")
    page.evaluate("(first) => disk.read(2048 * 512, 512)")

    # The tables of the volume cannot be read: DOSBox stands still, and shows nothing wrong.
    image.behaviour = Behaviour(content_range="shifted")
    page.evaluate("(commands) => void start('wdosbox', commands)", commands)
    wait_for(page, "() => globalThis.failures?.length === 1")
    failure = page.evaluate("() => [failures[0].letter, failures[0].name]")
    assert failure == ["c", "InvalidResponseError"]
    image.behaviour = Behaviour()
    page.evaluate("() => failures[0].retry()")

    wait_for(page, "() => /the program ran[^]*text on the disk/.test(printed)")
    # The shell lives: it takes a key, and shows a picture.
    wait_for(page, "() => /any key/i.test(printed)")
    page.evaluate("() => dos.simulateKeyPress(257)")
    wait_for(page, "() => /NEW +TXT/.test(printed)")
    picture = page.evaluate(
        "dos.screenshot().then(({ width, data }) => [width, new Set(data).size])"
    )
    assert picture[0] >= 640
    assert picture[1] > 2
    page.evaluate("async () => { await dos.exit(); await disk.flush(); await disk.close(); }")

    open_disk(page, site, images.url("disk.img"))
    page.evaluate("() => start('wdosbox', ['c:', 'type new.txt'])")
    wait_for(page, "() => printed.includes('written in DOS')")
    assert page.evaluate("failures.length") == 0
    page.evaluate("async () => { await dos.exit(); await disk.close(); }")
    page.close()


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_dosbox_x_reads_and_writes_a_streamed_fat32_disk(
    page: Page, site: SiteServer, images: ImageServer, console: Console
) -> None:
    console.allow(ENDS_BY_THROWING)
    config = "[dos]\nver=7.10"
    open_disk(page, site, images.url("fat32.img"))
    commands = ["c:", "hello", "type data.txt", "echo written in DOS> new.txt", "pause", "dir"]
    page.evaluate("([c, config]) => start(dosboxX, c, config)", [commands, config])
    wait_for(page, "() => /the program ran[^]*text on the disk/.test(printed)")
    wait_for(page, "() => /any key/i.test(printed)")
    page.evaluate("() => dos.simulateKeyPress(257)")
    wait_for(page, "() => /new.txt/i.test(printed.split(/any key/i)[1])")
    page.evaluate("async () => { await dos.exit(); await disk.flush(); await disk.close(); }")

    open_disk(page, site, images.url("fat32.img"))
    page.evaluate("(config) => start(dosboxX, ['c:', 'type new.txt'], config)", config)
    wait_for(page, "() => printed.includes('written in DOS')")
    assert page.evaluate("failures.length") == 0
    page.evaluate("async () => { await dos.exit(); await disk.close(); }")
    page.close()


def test_the_sample_of_the_guide_runs(page: Page, site: SiteServer, images: ImageServer) -> None:
    open_disk(page, site, images.url("disk.img"))
    page.evaluate("() => disk.close()")  # the sample opens it
    text = re.sub(r'(?m)^import (\{.*\}) from ("\S+");', r"const \1 = await import(\2);", SAMPLE)
    text = text.replace(EXAMPLE_URL, images.url("disk.img")).replace('"./', f'"{site.url}')
    text = text.replace('"emulators/', f'"{site.url}emulators/').replace("console.log", "seen.push")
    page.evaluate(f"async () => {{ globalThis.seen = []; {text} }}")
    wait_for(page, "() => seen.some((line) => String(line).includes('Directory of C:'))")
    page.close()
