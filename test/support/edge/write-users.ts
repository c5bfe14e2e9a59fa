import { writeFile } from 'node:fs/promises'
import { cheapHash } from './passwords.ts'

/** A file of `mqtt.users`. */
export async function writeUsers(file: string, passwords: Readonly<Record<string, string>>): Promise<string> {
  const lines = Object.entries(passwords).map(([name, password]) => `${name}: ${cheapHash(password)}\n`)
  await writeFile(file, `# of a test\n${lines.join('')}`)
  return file
}
