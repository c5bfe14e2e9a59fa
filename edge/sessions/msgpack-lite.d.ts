/** The part of the package that we use; it ships no types. */
declare module 'msgpack-lite' {
  export function encode(value: object): Buffer
  export function decode(input: Uint8Array): unknown
  export function encode(input: object): Buffer
}
