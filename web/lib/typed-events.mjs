/** Event targets whose listeners get events of the right type. */

/**
 * The class of an event target with these events, by type. To use it, cast `EventTarget` to this type and
 * extend that.
 *
 * @template {object} Events
 * @typedef {new () => TypedEventTarget<Events>} TypedEvents
 */

/**
 * @template {object} Events by type
 * @typedef {{
 *   addEventListener<Type extends keyof Events & string>(
 *     type: Type, listener: (event: Events[Type]) => unknown, options?: boolean | AddEventListenerOptions): void,
 *   removeEventListener<Type extends keyof Events & string>(
 *     type: Type, listener: (event: Events[Type]) => unknown, options?: boolean | EventListenerOptions): void,
 * } & EventTarget} TypedEventTarget
 */

export {};
