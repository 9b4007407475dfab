// A plain client on tuf-js: client.mjs METADATA_URL TARGETS_URL ROOT.json DIR TARGET...
// writes target number N to DIR/N, and says "ok" or "absent" for each.

import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Updater } from 'tuf-js';

const [metadataBaseUrl, targetBaseUrl, root, dir, ...targets] = process.argv.slice(2);
const metadataDir = join(dir, 'metadata');
mkdirSync(metadataDir);
copyFileSync(root, join(metadataDir, 'root.json'));
const updater = new Updater({ metadataDir, metadataBaseUrl, targetDir: dir, targetBaseUrl });
await updater.refresh();
for (const [n, name] of targets.entries()) {
  const info = await updater.getTargetInfo(name);
  if (info) await updater.downloadTarget(info, join(dir, String(n)));
  console.log(info ? 'ok' : 'absent');
}
