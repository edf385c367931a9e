/** What went wrong: `name` is the Python class, and the error's fields are its properties. */
export class DiskError extends Error {
  /** @param {{ name: string, message: string, fields: Record<string, unknown> }} failure */
  constructor({ name, message, fields }) {
    super(message);
    Object.assign(this, fields);
    this.name = name;
  }
}
