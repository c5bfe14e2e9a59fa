/**
 * Flags of V8 for a process that takes in or hands on events: a young generation in which those that wait for the disk find room,
 * so that they are not copied into the old one and collected there. V8 reads them when a process starts and not later, so they stand
 * in the first line of the command, and in the unit and the image, which start it without that.
 */
export const heapFlags = ['--max-semi-space-size=64'] as const
