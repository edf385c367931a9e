// What a program built by Emscripten sees of a mounted disk. The program is Python (Pyodide), which nobody here
// wrote; the disk does what a test tells it to. Run by test_emscripten.py, or: node --test tests/unit/web/emscripten.test.mjs
import assert from "node:assert/strict";
import { after, mock, test } from "node:test";
import { adapterCases } from "../../../web/adapters/adapter-suite.mjs";
import { mountDisk } from "../../../web/adapters/emscripten.mjs";
import { loadPyodide } from "../../../web/node_modules/pyodide/pyodide.mjs";

const SIZE = 300_000; // no multiple of anything
const pyodide = await loadPyodide();
const { FS } = pyodide;
let mounts = 0;
/** What `mounted` has made. */
const made = [];

// Their next flush would keep the process for five seconds.
after(() => {
  for (const { disk, mount } of made) {
    disk.failures = [];
    mount.flush();
  }
});

/** A disk in memory that fails as it is told to. */
class ScriptedDisk {
  size = SIZE;
  readOnly = false;
  blockSize = 16384;
  bytes = Uint8Array.from({ length: SIZE }, (_, at) => (at * 31 + (at >> 8)) & 0xff);
  calls = [];
  failures = [];
  tree = {};

  readSync(offset, target) {
    this.#begin("read", offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  writeSync(offset, data) {
    this.#begin("write", offset, data.length);
    this.bytes.set(data, offset);
  }

  flushSync() {
    this.#begin("flush");
  }

  askSync(operation, { path, offset, length }) {
    this.#begin(operation, path);
    const entry = this.tree[path];
    if (!entry) throw named("NoSuchFileError");
    if (operation === "files.read") return entry.content.slice(offset, offset + length);
    if (operation !== "files.list") return { ...entry };
    const names = Object.keys(this.tree).filter((other) => other.startsWith(path === "/" ? path : `${path}/`));
    const inside = names.filter((other) => other.lastIndexOf("/") === (path === "/" ? 0 : path.length) && other !== "/");
    return { entries: inside.map((other) => this.tree[other]), complete: true };
  }

  add(path, kind, content = null, more = {}) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    // As the worker's response has it: what Python has as None is not there.
    this.tree[path] = { name, kind, size: content?.length, content, modified: 1600000000, label: "", description: "", ...more };
  }

  #begin(...call) {
    this.calls.push(call);
    const failure = this.failures.shift();
    if (failure) throw failure;
  }
}

function named(name, message = name) {
  return Object.assign(new Error(message), { name });
}

function mounted(options, disk = new ScriptedDisk()) {
  const errors = [];
  const mount = mountDisk(FS, disk, `/disks/${++mounts}`, { onError: (error) => errors.push(error.name), ...options });
  made.push({ disk, mount });
  return { disk, mount, errors, path: mount.path };
}

/** Runs Python; `path` and `root` are of the mount. Returns what `found` is at the end. */
function python(mount, code) {
  const lines = code.split("\n").filter((line) => line.trim());
  const indent = Math.min(...lines.map((line) => line.search(/\S/)));
  const root = mount.path.slice(0, mount.path.lastIndexOf("/"));
  const header = `import os, mmap, errno\npath, root = ${JSON.stringify(mount.path)}, ${JSON.stringify(root)}
def fails(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
`;
  const found = pyodide.runPython(`${header}${lines.map((line) => line.slice(indent)).join("\n")}\nfound`);
  return found?.toJs ? found.toJs() : found;
}

function writes(disk) {
  return disk.calls.filter(([kind]) => kind === "write");
}

test("the file is the disk, byte for byte, at any offset and of any length", () => {
  const { disk, mount } = mounted();
  const all = python(mount, `
    with open(path, "rb", buffering=0) as file:
        found = file.read()
  `);
  assert.deepEqual(Buffer.from(all), Buffer.from(disk.bytes));
  for (const [offset, length] of [[0, 1], [16383, 2], [16384 * 3 - 5, 16384 * 2], [SIZE - 7, 7], [100, 0], [70000, 100000]]) {
    const found = python(mount, `
      descriptor = os.open(path, os.O_RDONLY)
      found = os.pread(descriptor, ${length}, ${offset})
      os.close(descriptor)
    `);
    assert.deepEqual(Buffer.from(found), Buffer.from(disk.bytes.subarray(offset, offset + length)));
  }
});

test("a read at the end is short, one behind it is empty, and a negative offset is invalid", () => {
  const { mount } = mounted();
  const found = python(mount, `
    with open(path, "rb", buffering=0) as file:
        file.seek(-3, os.SEEK_END)
        found = [len(file.read(10)), len(file.read(10)), file.seek(10**12), len(file.read(1)), file.seek(5), file.seek(2, 1)]
        found += [fails(lambda: file.seek(-1)), os.stat(path).st_size, os.fstat(file.fileno()).st_size]
  `);
  assert.deepEqual(found, [3, 0, 10 ** 12, 0, 5, 7, "EINVAL", SIZE, SIZE]);
});

test("reads of 512 bytes are served from larger ones", () => {
  class SharedDisk extends ScriptedDisk {
    last = null;
    readSync(offset, target) {
      super.readSync(offset, target);
      this.last = { offset, bytes: target.slice() };
    }
    tryRead(offset, target) {
      const start = offset - (this.last?.offset ?? Infinity);
      if (!(start >= 0 && start + target.length <= this.last.bytes.length)) return false;
      target.set(this.last.bytes.subarray(start, start + target.length));
      return true;
    }
  }
  const { disk, mount } = mounted({}, new SharedDisk());
  const found = python(mount, `
    with open(path, "rb", buffering=0) as file:
        found = b"".join(iter(lambda: file.read(512), b""))
  `);
  assert.deepEqual(Buffer.from(found), Buffer.from(disk.bytes));
  assert.equal(disk.calls.length, Math.ceil(SIZE / 16384));
});

test("what another thread writes is read at once", () => {
  const { disk, mount } = mounted();
  const read = () => python(mount, `
    with open(path, "rb", buffering=0) as file:
        found = file.read(4)
  `);
  read();
  disk.bytes.set([9, 8, 7, 6]);
  assert.deepEqual([...read()], [9, 8, 7, 6]);
});

test("a write is on the disk when it returns, and durable after fsync", () => {
  const { disk, mount } = mounted();
  const found = python(mount, `
    with open(path, "r+b", buffering=0) as file:
        file.seek(16383)
        found = [file.write(b"written")]
        found.append(file.tell())
        os.fsync(file.fileno())
  `);
  assert.deepEqual(found, [7, 16390]);
  assert.equal(Buffer.from(disk.bytes.subarray(16383, 16390)).toString(), "written");
  assert.deepEqual(disk.calls.at(-1), ["flush"]);
});

test("a write that reaches the end of the disk is short, then there is no space", () => {
  const { disk, mount } = mounted();
  const found = python(mount, `
    descriptor = os.open(path, os.O_RDWR)
    found = [os.pwrite(descriptor, b"12345", ${SIZE - 2}), fails(lambda: os.pwrite(descriptor, b"1", ${SIZE}))]
    found.append(fails(lambda: os.pwrite(descriptor, b"1", 10**12)))
    found.append(os.pwrite(descriptor, b"", 10**12))
    os.close(descriptor)
    with open(path, "ab", buffering=0) as file:
        found.append(fails(lambda: file.write(b"1")))
  `);
  assert.deepEqual(found, [2, "ENOSPC", "ENOSPC", 0, "ENOSPC"]);
  assert.deepEqual([...disk.bytes.subarray(SIZE - 2)], [0x31, 0x32]);
});

for (const [name, errno] of [
  ["StorageFullError", "ENOSPC"],
  ["ReadOnlyError", "EROFS"],
  ["NetworkError", "EIO"],
  ["WorkerError", "EIO"],
]) {
  test(`a ${name} is ${errno} for reads, writes, fsync and mmap`, () => {
    const { disk, mount, errors } = mounted();
    const before = disk.bytes.slice();
    disk.failures = Array.from({ length: 5 }, () => named(name));
    const found = python(mount, `
      with open(path, "r+b", buffering=0) as file:
          target = bytearray(b"unchanged")
          found = [fails(lambda: file.readinto(target)), bytes(target) == b"unchanged"]
          found.append(fails(lambda: file.read(100_000)))
          found.append(fails(lambda: file.write(b"x")))
          found.append(fails(lambda: os.fsync(file.fileno())))
          found.append(fails(lambda: mmap.mmap(file.fileno(), 10, access=mmap.ACCESS_READ)))
          file.seek(0)
          found.append(len(file.read(3)))
    `);
    assert.deepEqual(found, [errno, true, errno, errno, errno, errno, 3]);
    assert.deepEqual(errors, Array(5).fill(name));
    assert.deepEqual(disk.bytes, before);
  });
}

test("a read that fails half way is an error, not what came before it", () => {
  const { disk, mount } = mounted();
  disk.failures = [null, named("NetworkError")];
  const found = python(mount, `
    with open(path, "rb", buffering=0) as file:
        file.seek(16380)
        found = fails(lambda: file.read(8))
  `);
  assert.equal(found, "EIO");
});

test("a read-only disk is read, and not opened to write", () => {
  const disk = new ScriptedDisk();
  disk.readOnly = true;
  const { mount } = mounted({}, disk);
  const found = python(mount, `
    found = [fails(lambda: open(path, mode)) for mode in ("r+b", "wb", "ab")]
    found.append(fails(lambda: os.truncate(path, 0)))
    found.append(oct(os.stat(path).st_mode))
    with open(path, "rb") as file:
        found.append(len(file.read()))
  `);
  assert.deepEqual(found, ["EROFS", "EROFS", "EROFS", "EROFS", "0o100444", SIZE]);
  assert.equal(writes(disk).length, 0);
});

test("the disk keeps its size, its name and its permissions", () => {
  const { mount } = mounted();
  const found = python(mount, `
    with open(path, "r+b", buffering=0) as file:
        found = [fails(lambda: file.truncate(size)) for size in (0, ${SIZE - 1}, ${SIZE + 1}, ${SIZE})]
    found.append(fails(lambda: open(path, "wb")))
    found.append(fails(lambda: os.unlink(path)))
    found.append(fails(lambda: os.rename(path, root + "/other")))
    found.append(fails(lambda: os.mkdir(root + "/folder")))
    found.append(fails(lambda: open(root + "/new", "wb")))
    found.append(fails(lambda: os.symlink("a", root + "/link")))
    found.append(fails(lambda: os.chmod(path, 0)))
    os.utime(path, (1, 2))
    found += [os.stat(path).st_mtime, os.listdir(root), fails(lambda: os.stat(root + "/none")), os.stat(path).st_size]
  `);
  const refused = ["EPERM", "EPERM", "EPERM", undefined, "EPERM"];
  assert.deepEqual(found, [...refused, "EROFS", "EROFS", "EROFS", "EROFS", "EROFS", "EPERM", 2, ["disk.img"], "ENOENT", SIZE]);
});

test("a mapping is a copy; one that is shared is written back", () => {
  const { disk, mount } = mounted();
  const found = python(mount, `
    with open(path, "r+b", buffering=0) as file:
        with mmap.mmap(file.fileno(), 200_000, access=mmap.ACCESS_READ) as mapped:
            found = [bytes(mapped[100_000:100_005])]
        with mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_COPY) as mapped:
            mapped[:4] = b"copy"
        with mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_WRITE) as mapped:
            mapped[4:8] = b"kept"
            mapped.flush()
  `);
  assert.deepEqual([...found[0]], [...disk.bytes.subarray(100_000, 100_005)]);
  assert.equal(disk.bytes[0], 0);
  assert.equal(Buffer.from(disk.bytes.subarray(4, 8)).toString(), "kept");
});

test("what is written becomes durable without fsync, and a flush that failed is reported by the next fsync", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { disk, mount, errors } = mounted();
    const write = () => python(mount, `
      with open(path, "r+b", buffering=0) as file:
          found = file.write(b"x")
    `);
    write();
    mock.timers.tick(1000);
    assert.deepEqual(disk.calls.map(([kind]) => kind), ["write", "flush"]);
    write();
    disk.failures = [named("StorageFullError")];
    mock.timers.tick(1000);
    assert.deepEqual(errors, ["StorageFullError"]);
    mock.timers.tick(4000);
    assert.deepEqual(errors, ["StorageFullError"], "it is not tried again at once");
    const found = python(mount, `
      with open(path, "r+b", buffering=0) as file:
          found = [fails(lambda: os.fsync(file.fileno())), fails(lambda: os.fsync(file.fileno()))]
    `);
    assert.deepEqual(found, ["ENOSPC", undefined]);
  } finally {
    mock.timers.reset();
  }
});

test("unmounting makes writes durable and removes the folder's content", () => {
  const { disk, mount } = mounted();
  const stream = FS.open(mount.path, "r+");
  FS.write(stream, new Int8Array([1, 2, 3]), 0, 3, 5);
  FS.close(stream);
  mount.unmount();
  assert.deepEqual(disk.calls.at(-1), ["flush"]);
  assert.deepEqual([...disk.bytes.subarray(5, 8)], [1, 2, 3]);
  assert.equal(FS.analyzePath(mount.path).exists, false);
});

function tree(readOnly = true) {
  const disk = new ScriptedDisk();
  disk.readOnly = readOnly;
  disk.add("/", "folder");
  disk.add("/1", "volume", null, { size: 1000, modified: undefined });
  disk.add("/1/folder", "folder");
  disk.add("/1/folder/big", "file", Buffer.from(Uint8Array.from({ length: 200_001 }, (_, at) => at % 251)));
  disk.add("/1/text.csv", "file", Buffer.from("a,b\n1,2\n"), { mode: 0o100644, uid: 7, accessed: 1600000001 });
  disk.add("/1/link", "link", null, { target: "/folder/../text.csv" });
  disk.add("/1/folder/up", "link", null, { target: "../../../text.csv" });
  disk.add("/1/device", "other");
  disk.add("/1/endless", "file", null);
  return mounted({ files: true }, disk);
}

test("the files of the volumes are a read-only tree", () => {
  const { mount, disk } = tree();
  const found = python(mount, `
    import csv
    files = root + "/files"
    found = [sorted(os.listdir(root)), os.listdir(files), sorted(os.listdir(files + "/1")), sorted(os.listdir(files + "/1/folder"))]
    with open(files + "/1/link", newline="") as file:
        found.append(list(csv.reader(file)))
    found.append(open(files + "/1/folder/up", "rb").read() == b"a,b\\n1,2\\n")
    found.append(os.readlink(files + "/1/link") == files + "/1/text.csv")
    with open(files + "/1/folder/big", "rb", buffering=0) as file:
        found.append(file.read() == bytes(at % 251 for at in range(200_001)))
        file.seek(65_535)
        found.append(list(file.read(3)))
        found.append(len(file.read(10**6)))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            found.append([len(mapped), mapped[200_000]])
    status = os.stat(files + "/1/text.csv")
    found.append([oct(status.st_mode), status.st_uid, status.st_mtime, status.st_atime, status.st_size])
    found.append([os.path.isdir(files + "/1"), os.path.isfile(files + "/1/device"), os.path.islink(files + "/1/link")])
  `);
  assert.deepEqual(found.slice(0, 4), [
    ["disk.img", "files"], ["1"], ["device", "endless", "folder", "link", "text.csv"], ["big", "up"],
  ]);
  assert.deepEqual(found.slice(4), [
    [["a", "b"], ["1", "2"]], true, true, true, [65535 % 251, 65536 % 251, 65537 % 251], 200_001 - 65_538,
    [200_001, 200_000 % 251], ["0o100644", 7, 1600000000, 1600000001, 8], [true, false, true],
  ]);
  const before = disk.calls.length;
  python(mount, `
    found = [open(root + "/files/1/text.csv").read(), os.stat(root + "/files/1/folder/big").st_size]
  `);
  assert.equal(disk.calls.length, before, "a read-only disk is not asked twice");
});

test("what the tree cannot do is an error", () => {
  const { mount, disk, errors } = tree();
  const refusals = python(mount, `
    files = root + "/files"
    found = [fails(work) for work in (
        lambda: open(files + "/1/text.csv", "r+"),
        lambda: open(files + "/1/text.csv", "w"),
        lambda: open(files + "/1/new", "w"),
        lambda: os.mkdir(files + "/1/new"),
        lambda: os.unlink(files + "/1/text.csv"),
        lambda: os.rmdir(files + "/1/folder"),
        lambda: os.rename(files + "/1/text.csv", files + "/1/other"),
        lambda: os.chmod(files + "/1/text.csv", 0),
        lambda: open(files + "/1/none"),
        lambda: open(files + "/2/none"),
        lambda: open(files + "/1/folder"),
        lambda: os.listdir(files + "/1/text.csv"),
        lambda: open(files + "/1/endless"),
    )]
  `);
  assert.deepEqual(refusals, [
    ...Array(8).fill("EROFS"), "ENOENT", "ENOENT", "EISDIR", "ENOTDIR", "EIO",
  ]);
  disk.failures = [named("NetworkError")];
  assert.equal(python(mount, `
    found = fails(lambda: open(root + "/files/1/folder/big", "rb").read(5))
  `), "EIO");
  disk.failures = [named("DamagedFileSystemError")];
  assert.equal(python(mount, `
    found = fails(lambda: os.listdir(root + "/files/1/folder"))
  `), "EIO");
  assert.deepEqual(errors.slice(-2), ["NetworkError", "DamagedFileSystemError"]);
});

test("the tree of a writable disk is looked at again", () => {
  const { mount, disk } = tree(false);
  const read = () => python(mount, `
    def read():
        with open(root + "/files/1/text.csv") as file:
            return file.read()
    found = fails(read) or read()
  `);
  read();
  disk.add("/1/text.csv", "file", Buffer.from("now longer than before\n"));
  assert.equal(read(), "now longer than before\n");
  delete disk.tree["/1/text.csv"];
  assert.equal(read(), "ENOENT");
  disk.add("/1/text.csv", "folder");
  assert.equal(read(), "ESTALE");
});

/** A program's file as the guest of the suite for adapters. */
function guestOf(disk) {
  const mount = mountDisk(FS, disk, `/disks/${++mounts}`);
  const stream = FS.open(mount.path, disk.readOnly ? "r" : "r+");
  return {
    size: FS.stat(mount.path).size,
    read(offset, length) {
      const buffer = new Int8Array(length + 3);
      const count = FS.read(stream, buffer, 3, length, offset);
      return new Uint8Array(buffer.buffer, 3, count);
    },
    write(offset, data) {
      assert.equal(FS.write(stream, new Int8Array(data.buffer), 0, data.length, offset), data.length);
    },
    flush: () => stream.stream_ops.fsync(stream),
    close() {
      FS.close(stream);
      mount.unmount();
    },
  };
}

for (const { name, run } of adapterCases(guestOf)) test(name, run);
