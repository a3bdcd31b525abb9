// Parses PowerShell files (there is no PowerShell to run them with here) and names the first syntax error of each.
// usage: node parse-powershell.mjs NODE_MODULES FILE...
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, ...files] = process.argv.slice(2);
const load = createRequire(resolve(modules, 'package.json'));
const { Parser, Language } = await import(pathToFileURL(load.resolve('web-tree-sitter')).href);
await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(resolve(modules, 'tree-sitter-powershell/tree-sitter-powershell.wasm')));

const firstError = (node) =>
    node.isError || node.isMissing ? node : node.hasError ? node.children.map(firstError).find(Boolean) : undefined;

let failures = 0;
for (const file of files) {
    const root = parser.parse(readFileSync(file, 'utf8')).rootNode;
    const error = firstError(root);
    if (error || root.namedChildCount === 0) {
        failures++;
        const at = error ? `:${error.startPosition.row + 1}:${error.startPosition.column + 1}` : '';
        console.log(`${file}${at}: syntax error${error ? ` near "${error.text.slice(0, 40)}"` : ': nothing in it'}`);
    } else {
        console.log(`${file}: parsed`);
    }
}
process.exitCode = failures ? 1 : 0;
