/**
 * The sound of a machine: its speaker, and the samples of its Sound Blaster. v86 has such an adapter too, but that one
 * starts an audio worklet from a `blob:` address, which needs `script-src blob:` in a Content-Security-Policy.
 */

const SPEAKER_HZ = 1_193_182; // of the timer that drives the speaker, Intel 8254
const SQUARE_WAVE = 3; // the timer's mode
const GAIN = 0.2; // a square wave is loud
const AHEAD_S = 0.2;
const PUMP_MS = 20;
const PRESSES = ["pointerdown", "click", "keydown"];

/**
 * What is used of v86's bus, by the names of its events.
 * @typedef {object} Bus
 * @property {(event: string, listener: (value: any) => void) => void} add_listener
 * @property {{ send(event: string): void }} [bus]
 */

export class MachineSound {
  /** Null once it is closed. @type {Bus | null} */
  #machine;
  #isMuted = false;
  /** Created with the first sound. @type {AudioContext | null} */
  #context = null;
  /** @type {GainNode | null} */
  #output = null;
  /** @type {OscillatorNode | null} */
  #speaker = null;
  #hertz = 0;
  #isSpeakerOn = false;
  #samplesPerSecond = 22_050;
  #isPlaying = false;
  #isStopped = false;
  /** When the last samples end, in seconds of the page's clock: it goes on without sound. */
  #endsAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Bus} machine */
  constructor(machine) {
    this.#machine = machine;
    machine.add_listener("pcspeaker-update", ([mode, reload]) => {
      this.#hertz = mode === SQUARE_WAVE && reload ? SPEAKER_HZ / reload : 0;
      this.#drawSpeaker();
    });
    for (const [event, is] of /** @type {const} */ ([["pcspeaker-enable", true], ["pcspeaker-disable", false]])) {
      machine.add_listener(event, () => {
        this.#isSpeakerOn = is;
        this.#drawSpeaker();
      });
    }
    machine.add_listener("dac-tell-sampling-rate", (rate) => (this.#samplesPerSecond = rate));
    machine.add_listener("dac-enable", () => this.#play(true));
    machine.add_listener("dac-disable", () => this.#play(false));
    machine.add_listener("dac-send-data", (channels) => this.#queue(channels));
    machine.add_listener("emulator-stopped", () => {
      this.#isStopped = true;
      void this.#context?.suspend();
    });
    machine.add_listener("emulator-started", () => {
      this.#isStopped = false;
      void this.#context?.resume();
    });
    for (const event of PRESSES) addEventListener(event, this.#wake, true);
  }

  /** Some browsers let a context sound only if it is started while the user presses something. */
  #wake = () => {
    if (!this.#isStopped && this.#context?.state === "suspended") void this.#context.resume();
  };

  get isMuted() {
    return this.#isMuted;
  }

  set isMuted(is) {
    this.#isMuted = is;
    if (this.#output) this.#output.gain.value = is ? 0 : GAIN;
    this.#drawSpeaker();
  }

  close() {
    clearTimeout(this.#timer);
    this.#isPlaying = false;
    for (const event of PRESSES) removeEventListener(event, this.#wake, true);
    void this.#context?.close();
    this.#context = this.#output = this.#speaker = null;
    this.#machine = null;
  }

  /** Where sounds go. Null before the user has pressed anything: browsers let no page sound unasked. */
  #audible() {
    if (this.#output || !this.#machine || this.#isMuted) return this.#output;
    if (!globalThis.AudioContext || !navigator.userActivation?.hasBeenActive) return null;
    this.#context = new AudioContext();
    this.#output = new GainNode(this.#context, { gain: GAIN });
    this.#output.connect(this.#context.destination);
    return this.#output;
  }

  #drawSpeaker() {
    const isOn = this.#isSpeakerOn && this.#hertz > 0;
    const output = isOn && this.#audible();
    if (output && !this.#speaker) {
      this.#speaker = new OscillatorNode(output.context, { type: "square" });
      this.#speaker.connect(output);
      this.#speaker.start();
    }
    if (isOn && this.#speaker) {
      const { frequency } = this.#speaker;
      frequency.value = Math.min(this.#hertz, frequency.maxValue);
    } else if (this.#speaker) {
      this.#speaker.disconnect();
      this.#speaker = null;
    }
  }

  /** @param {boolean} is */
  #play(is) {
    const begins = is && !this.#isPlaying;
    this.#isPlaying = is;
    if (begins) this.#pump();
  }

  /** Asks the sound card for samples a little ahead, muted or not: the guest waits for them to be taken. */
  #pump() {
    clearTimeout(this.#timer);
    if (!this.#isPlaying) return;
    if (this.#endsAt - now() < AHEAD_S) this.#machine?.bus?.send("dac-request-data");
    this.#timer = setTimeout(() => this.#pump(), PUMP_MS);
  }

  /** @param {Float32Array<ArrayBuffer>[]} channels */
  #queue(channels) {
    const length = channels[0]?.length ?? 0;
    if (!length) return;
    const at = Math.max(this.#endsAt, now());
    this.#endsAt = at + length / this.#samplesPerSecond;
    const output = this.#audible();
    if (!output) return;
    const { context } = output;
    const buffer = new AudioBuffer({ length, numberOfChannels: channels.length, sampleRate: Math.max(this.#samplesPerSecond, 8000) });
    channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
    const source = new AudioBufferSourceNode(context, { buffer, playbackRate: this.#samplesPerSecond / buffer.sampleRate });
    source.connect(output);
    source.addEventListener("ended", () => source.disconnect());
    source.start(context.currentTime + Math.max(0, at - now()));
  }
}

function now() {
  return performance.now() / 1000;
}
