// Products of bytes with NEON's sdot. Included inside an anonymous namespace, before dot_bytes.hpp.
//
// sdot multiplies signed bytes, so of a whole number a = 256 high + low (low from 0 to 255) low - 128 is stored, and
//   sum a w = 256 (sum high w) + (sum (low - 128) w) + 128 sum w

struct Int32s {
  int32x4_t v;  ///< or 16 bytes
};

GANGLION_INLINE Int32s no_sums() { return {vdupq_n_s32(0)}; }
GANGLION_INLINE Int32s plus(Int32s a, Int32s b) { return {vaddq_s32(a.v, b.v)}; }

GANGLION_INLINE void store_bytes(std::uint8_t* low, std::uint8_t* high, Vector v, bool narrow) {
  const int32x4_t whole = vcvtq_s32_f32(v.v);
  const int16x4_t a = vmovn_s32(narrow ? vshlq_n_s32(whole, 8) : whole);
  const int16x8_t both = vcombine_s16(veor_s16(a, vdup_n_s16(0x80)), vshr_n_s16(a, 8));
  const uint8x8_t bytes = vreinterpret_u8_s8(vmovn_s16(both));
  __builtin_memcpy(low, &bytes, 4);
  const uint8x8_t upper = vext_u8(bytes, bytes, 4);
  __builtin_memcpy(high, &upper, 4);
}

/// The four bytes at `p` in every lane.
GANGLION_INLINE Int32s four_bytes(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return {vdupq_n_s32(four)};
}
GANGLION_INLINE Int32s load_weights(const std::int8_t* p) { return {vreinterpretq_s32_s8(vld1q_s8(p))}; }

/// Adds to each int32 of `sum` four products of bytes of `input` and `weight`.
// NOLINTNEXTLINE(misc-const-correctness): it is written to
GANGLION_INLINE void add_products(Int32s& sum, Int32s input, Int32s weight) {
  sum.v = vdotq_s32(sum.v, vreinterpretq_s8_s32(weight.v), vreinterpretq_s8_s32(input.v));
}

GANGLION_INLINE Int32s of_high(Int32s sum, const std::int32_t* /*correction*/) { return sum; }
GANGLION_INLINE Int32s of_low(Int32s sum, const std::int32_t* correction) {
  return {vaddq_s32(sum.v, vshlq_n_s32(vld1q_s32(correction), 7))};
}

/// 256 a + b.
GANGLION_INLINE Int32s joined(Int32s a, Int32s b) { return {vaddq_s32(vshlq_n_s32(a.v, 8), b.v)}; }
GANGLION_INLINE Vector rounded(Int32s a) { return {vcvtq_f32_s32(a.v)}; }
/// 256 a + b, rounded once.
GANGLION_INLINE Vector rounded_wide(Int32s a, Int32s b) {
  const auto half = [](int32x2_t high, int32x2_t low) __attribute__((always_inline)) {
    const float64x2_t scaled_high = vmulq_n_f64(vcvtq_f64_s64(vmovl_s32(high)), 256.0);
    return vcvt_f32_f64(vaddq_f64(scaled_high, vcvtq_f64_s64(vmovl_s32(low))));
  };
  return {vcombine_f32(half(vget_low_s32(a.v), vget_low_s32(b.v)), half(vget_high_s32(a.v), vget_high_s32(b.v)))};
}
