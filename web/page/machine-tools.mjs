/**
 * What goes between the machine and the rest of the user's computer: text out of its screen and into it, pictures.
 */

import { element, onPress, setAvailable } from "./elements.mjs";
import { download } from "./save.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("../adapters/boot.mjs").Boot} Boot */

/**
 * @param {PageSession} session
 * @param {() => Promise<Boot> | null} current
 * @returns {(isOn: boolean) => void} shows them while the machine is on
 */
export function wireMachineTools(session, current) {
  wire("machine-copy", async (boot) => {
    const lines = boot.screenText.map((line) => line.trimEnd());
    await navigator.clipboard.writeText(`${lines.join("\n").trimEnd()}\n`);
  });
  wire("machine-paste", async (boot) => boot.type(await navigator.clipboard.readText()));
  wire("machine-screenshot", async (boot) => {
    const picture = await boot.screenshot();
    picture.toBlob((blob) => blob && download(blob, "screen.png"));
  });

  return (isOn) => {
    const tools = element("machine-tools", HTMLElement);
    tools.hidden = !isOn;
    for (const button of tools.querySelectorAll("button")) setAvailable(button, isOn);
  };

  /** @param {string} id @param {(boot: Boot) => Promise<void>} act */
  function wire(id, act) {
    onPress(id, async () => {
      try {
        const boot = await current();
        if (boot?.machine) await act(boot);
      } catch (error) {
        session.report(error); // such as a clipboard that the user does not allow
      }
    });
  }
}
