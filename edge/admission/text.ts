/**
 * A text for people: what cannot be seen in it, or reorders what can, is written as its code point, such as `<U+FEFF>`,
 * and what is longer than `lengthMax` characters is cut.
 */
export function legible(text: string, lengthMax: number): string {
  const shown = text
    .slice(0, lengthMax)
    .replace(/[^\P{C}]|(?! )\p{Z}/gu, (character) => {
      const point = character.codePointAt(0) ?? 0
      return `<U+${point.toString(16).toUpperCase().padStart(4, '0')}>`
    })
    .slice(0, lengthMax)
  return text.length > lengthMax ? `${shown.slice(0, Math.max(0, lengthMax - 1))}…` : shown
}
