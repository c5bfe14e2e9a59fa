import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** What a report brings with it, so that it is one file that asks no network for anything. */
export interface Page {
  style: string
  /** An ECMAScript module; it imports nothing. */
  script: string
}

/**
 * Style and script are files of their own, so that formatter, linter and compiler see them: `page/` is a project of the compiler's by
 * itself, because it alone runs in a browser. The compiler puts the script beside this file; it leaves style sheets alone, so the style
 * is read where it was written, beside `dist`, as the schemas are. package.json and the Dockerfile carry it along.
 */
export function loadPage(): Page {
  const inSource = import.meta.url.endsWith('.ts')
  return {
    style: textAt(inSource ? './page/style.css' : '../../../dev/report/page/style.css'),
    // Tests import the TypeScript source; a browser runs what was compiled all the same.
    script: textAt(inSource ? '../../dist/dev/report/page/client.js' : './page/client.js'),
  }
}

function textAt(place: string): string {
  return readFileSync(fileURLToPath(new URL(place, import.meta.url)), 'utf8')
}
