/** One file for a container, as data: it travels in a tar archive and never through a shell. */
export interface ContainerFile {
  /** Absolute. */
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

const BLOCK = 512;
const LONGEST_NAME = 100;

/** A POSIX ustar archive of the files, owned by root; each file's folder gets `folderModes` where it names one. */
export function packFiles(files: readonly ContainerFile[], folderModes: Readonly<Record<string, number>> = {}): Buffer {
  const parts: Buffer[] = [];
  for (const [path, mode] of Object.entries(folderModes)) parts.push(header({ path: `${path}/`, mode, size: 0, type: '5' }));
  for (const file of files) {
    const content = Buffer.from(file.content, 'utf8');
    parts.push(header({ path: file.path, mode: file.mode, size: content.length, type: '0' }), content);
    parts.push(Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

/** The content of the first plain file of an archive; undefined when there is none or the archive is cut short. */
export function unpackFirstFile(archive: Buffer): Buffer | undefined {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const block = archive.subarray(at, at + BLOCK);
    const size = Number.parseInt(text(block, 124, 12), 8);
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    const type = text(block, 156, 1);
    const end = at + BLOCK + size;
    if (type === '0' || type === '') return end <= archive.length ? archive.subarray(at + BLOCK, end) : undefined;
    at = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return undefined;
}

function header(entry: { path: string; mode: number; size: number; type: '0' | '5' }): Buffer {
  const name = entry.path.replace(/^\/+/, '');
  if (Buffer.byteLength(name) > LONGEST_NAME) throw new RangeError(`too long for an archive: ${name}`);
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, LONGEST_NAME, 'utf8');
  octal(block, entry.mode, 100, 8);
  octal(block, 0, 108, 8);
  octal(block, 0, 116, 8);
  octal(block, entry.size, 124, 12);
  octal(block, 0, 136, 12);
  block.write('        ', 148, 'ascii');
  block.write(entry.type, 156, 'ascii');
  block.write('ustar\0' + '00', 257, 'latin1');
  block.write('root', 265, 'ascii');
  block.write('root', 297, 'ascii');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, value: number, at: number, length: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
}

function text(block: Buffer, at: number, length: number): string {
  return block.toString('latin1', at, at + length).replace(/[\0 ].*$/s, '');
}
