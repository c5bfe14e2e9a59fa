import { spawn } from 'node:child_process'

/** Starts another program as dev/stack does, and prints its process ID. Argument: the file. */
const [file = ''] = process.argv.slice(2)

const child = spawn(process.execPath, [file], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
console.log(child.pid)
