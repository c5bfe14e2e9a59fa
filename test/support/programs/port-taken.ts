/** Ends before it has started, and says why. */
console.error('tidegate: the port is taken')
process.exit(1)
