// Reads what curves.py packed: the very bits of the run, each curve but the first as its difference in bits.
"use strict";
{
  const types = { f4: Float32Array, f8: Float64Array, u4: Uint32Array };
  const inflated = async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  // An array of `curves` typed arrays of equal length.
  window.ganglion.unpack = async (packed, curves) => {
    const type = types[packed.slice(0, 2)];
    const planes = await inflated(packed.slice(3));
    const width = type.BYTES_PER_ELEMENT;
    const count = planes.length / width;
    const bytes = new Uint8Array(planes.length);
    for (let plane = 0; plane < width; plane++)
      for (let index = 0; index < count; index++) bytes[index * width + plane] = planes[plane * count + index];
    const length = curves ? count / curves : 0;
    for (let index = length * width; index < bytes.length; index++) bytes[index] ^= bytes[index % (length * width)];
    return Array.from({ length: curves }, (_, curve) => new type(bytes.buffer, curve * length * width, length));
  };
  // The shortest decimal that reads back as the very number.
  window.ganglion.exact = (value, single) => {
    let found = value;
    for (let digits = 6; single && digits < 10; digits++) {
      found = Number(value.toPrecision(digits));
      if (Math.fround(found) === value) break;
    }
    const size = Math.abs(found);
    return Number.isFinite(found) && size > 0 && size < 1e-3 ? found.toExponential() : String(found);
  };
}
