// Convolutions. Each element of the output is one chain over its taps (NUMERICS.md), so it does not matter to the bits
// what lies in the lanes of a vector: neighbouring places of one channel, or neighbouring channels at one place.
// Included inside an anonymous namespace.

[[gnu::noinline]] void fill_zeros(float* to, std::size_t size) {
  const float* const end = to + size;
  for (; to < end; to += lanes) store_up_to(to, set(0.0F), static_cast<std::size_t>(end - to));
}

[[gnu::noinline]] void copy_floats(const float* from, float* to, std::size_t size) {
  for (std::size_t i = 0; i < size; i += lanes) store_up_to(to + i, load_up_to(from + i, size - i), size - i);
}

/// A line with its padding.
inline void lay_line(const Convolution& conv, const float* from, float* to) {
  float* const behind = to + conv.pad_left + conv.width;
  copy_floats(from, to + conv.pad_left, conv.width);
  if (conv.circular) {
    copy_floats(from + conv.width - conv.pad_left, to, conv.pad_left);
    copy_floats(from, behind, conv.pad_right);
  } else {
    fill_zeros(to, conv.pad_left);
    fill_zeros(behind, conv.pad_right);
  }
}

/// The input of one row of the batch as a plan lays it: with its padding, and what a stride picks side by side.
[[gnu::noinline]] void lay_out(const ConvolutionPlan& plan, const float* x, float* to) {
  const Convolution& conv = plan.conv;
  const std::size_t height = conv.pad_top + conv.height + conv.pad_bottom;
  const std::size_t width = conv.pad_left + conv.width + conv.pad_right;
  float* const padded = to + conv.in_channels * plan.channel;  // a line that is yet to be taken apart
  for (std::size_t c = 0; c < conv.in_channels; ++c, to += plan.channel) {
    for (std::size_t i = 0; i < height; ++i) {
      float* line = to + i % plan.phases_down * plan.phases_across * plan.phase + i / plan.phases_down * plan.line;
      const bool is_inside = i >= conv.pad_top && i - conv.pad_top < conv.height;
      float* const whole = plan.phases_across == 1 ? line : padded;
      if (is_inside) {
        lay_line(conv, x, whole);
        x += conv.width;
      } else {
        fill_zeros(whole, width);
      }
      if (plan.phases_across == 1) continue;
      for (std::size_t p = 0; p < plan.phases_across; ++p, line += plan.phase) {
        for (std::size_t j = p, k = 0; j < width; j += plan.phases_across, ++k) line[k] = padded[j];
      }
    }
  }
}

GANGLION_INLINE const float* laid_out(const Step& step, const ConvolutionPlan& plan, std::size_t row) {
  const float* const x = step.in[0].data + row * step.in[0].stride;
  if (plan.in_place) return x;
  lay_out(plan, x, static_cast<float*>(step.scratch));
  return static_cast<const float*>(step.scratch);
}

/// So many sums are in registers, whatever they are of.
constexpr std::size_t sums_at_once = 4 * shared_rows;

// ---- a vector has neighbouring places; a block of channels shares what it reads ----

/// Sums of `Vectors` vectors from `x` on, or of the `n` first elements of one; `to` has a plane for each channel, the
/// first `used` of which are written.
template <std::size_t Channels, std::size_t Vectors, bool IsWhole>
GANGLION_INLINE void sum_places(const Step& step, const float* weight, const float* bias, const float* x, std::size_t n,
                                float* to, std::size_t plane, std::size_t used) {
  const auto read = [n](const float* p) __attribute__((always_inline)) { return IsWhole ? load(p) : load_up_to(p, n); };
  Vector sums[Channels][Vectors];
  repeat<Channels * Vectors>(
      [&]<std::size_t I>() __attribute__((always_inline)) { sums[I / Vectors][I % Vectors] = set(bias[I / Vectors]); });
  for (std::size_t tap = 0; tap < step.inner; ++tap, weight += Channels) {
    const float* const from = x + step.index[tap];
    Vector input[Vectors];
    repeat<Vectors>([&]<std::size_t V>() __attribute__((always_inline)) { input[V] = read(from + V * lanes); });
    repeat<Channels>([&]<std::size_t C>() __attribute__((always_inline)) {
      const Vector factor = set(weight[C]);
      repeat<Vectors>([&]<std::size_t V>()
                          __attribute__((always_inline)) { sums[C][V] = fma(factor, input[V], sums[C][V]); });
    });
  }
  repeat<Channels>([&]<std::size_t C>() __attribute__((always_inline)) {
    if (C >= used) return;
    repeat<Vectors>([&]<std::size_t V>() __attribute__((always_inline)) {
      float* const p = to + C * plane + V * lanes;
      IsWhole ? store(p, flushed(sums[C][V])) : store_up_to(p, flushed(sums[C][V]), n);
    });
  });
}

/// All `places` of a block of channels, the last vector a second time in part rather than cut.
template <std::size_t Channels, std::size_t Vectors>
GANGLION_INLINE void sum_block(const Step& step, const float* weight, const float* bias, const float* x,
                               std::size_t places, float* to, std::size_t plane, std::size_t used) {
  if (places < lanes) return sum_places<Channels, 1, false>(step, weight, bias, x, places, to, plane, used);
  std::size_t t = 0;
  if constexpr (Vectors > 1) {
    for (; t + Vectors * lanes <= places; t += Vectors * lanes) {
      sum_places<Channels, Vectors, true>(step, weight, bias, x + t, 0, to + t, plane, used);
    }
  }
  for (; t < places; t += lanes) {
    const std::size_t at = t + lanes <= places ? t : places - lanes;
    sum_places<Channels, 1, true>(step, weight, bias, x + at, 0, to + at, plane, used);
  }
}

/// Vectors of places that fit beside so many channels: a power of two.
constexpr std::size_t vectors_beside(std::size_t channels) {
  std::size_t vectors = 1;
  while (!is_compact && 2 * vectors * channels <= sums_at_once && vectors < 8) vectors *= 2;
  return vectors;
}

/// Calls `pass` with the size of a block of channels.
template <class Pass>
GANGLION_INLINE void for_block(std::size_t size, Pass&& pass) {
  static_assert(largest_block == 8);
  if (size == 1) return pass.template operator()<1>();
  if (size == 4) return pass.template operator()<4>();
  pass.template operator()<largest_block>();
}

void convolve_places(const Step& step) noexcept GANGLION_NONBLOCKING {
  const auto& plan = *static_cast<const ConvolutionPlan*>(step.extra);
  const Convolution& conv = plan.conv;
  const std::size_t out_group = conv.out_channels / conv.groups;
  const std::size_t plane = conv.out_height * conv.out_width;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* x = laid_out(step, plan, row);
    float* y = step.out[0].data + row * step.out[0].stride;
    const auto* weight = static_cast<const float*>(step.weights);
    const float* bias = step.bias;
    float* const apart = static_cast<float*>(step.scratch) + plan.planes;
    for (std::size_t g = 0; g < conv.groups; ++g, x += conv.in_channels / conv.groups * plan.channel) {
      for (std::size_t o = 0; o < out_group; o += plan.block, weight += plan.block * step.inner, bias += plan.block) {
        const std::size_t used = out_group - o < plan.block ? out_group - o : plan.block;
        for_block(plan.block, [&]<std::size_t Channels>() __attribute__((always_inline)) {
          for (std::size_t i = 0; i < plan.runs; ++i) {
            sum_block<Channels, vectors_beside(Channels)>(step, weight, bias, x + i * plan.line, plan.run,
                                                          plan.in_planes ? apart : y + i * conv.out_width,
                                                          plan.in_planes ? plan.run : plane, used);
          }
        });
        for (std::size_t c = 0; c < used; ++c, y += plane) {
          for (std::size_t i = 0; i < conv.out_height && plan.in_planes; ++i) {
            copy_floats(apart + c * plan.run + i * plan.line, y + i * conv.out_width, conv.out_width);
          }
        }
      }
    }
  }
}

// ---- a vector has neighbouring channels; some places share what it reads of the weights ----

constexpr std::size_t most_places = sums_at_once / convolution_vectors;

/// Some places of `Vectors` vectors of channels: `count` of them, the last of which stands in for those missing. Not
/// inlined: what flushes sums would be held in the registers that they need.
template <std::size_t Vectors, std::size_t Places>
[[gnu::noinline]] void sum_channels(const Step& step, const float* weight, const float* bias,
                                    const float* const (&x)[most_places], std::size_t count, std::size_t used, float* y,
                                    std::size_t plane) {
  const float* from[Places];
  repeat<Places>([&]<std::size_t P>() __attribute__((always_inline)) { from[P] = x[P < count ? P : count - 1]; });
  Vector sums[Places][Vectors];
  repeat<Places * Vectors>([&]<std::size_t I>() __attribute__((always_inline)) {
    sums[I / Vectors][I % Vectors] = load(bias + I % Vectors * lanes);
  });
  for (std::size_t tap = 0; tap < step.inner; ++tap, weight += Vectors * lanes) {
    const std::int32_t offset = step.index[tap];
    Vector factor[Vectors];
    repeat<Vectors>([&]<std::size_t V>() __attribute__((always_inline)) { factor[V] = load(weight + V * lanes); });
    repeat<Places>([&]<std::size_t P>() __attribute__((always_inline)) {
      const Vector input = set(from[P][offset]);
      repeat<Vectors>([&]<std::size_t V>()
                          __attribute__((always_inline)) { sums[P][V] = fma(factor[V], input, sums[P][V]); });
    });
  }
  float found[Places][Vectors * lanes];
  repeat<Places * Vectors>([&]<std::size_t I>() __attribute__((always_inline)) {
    store(found[I / Vectors] + I % Vectors * lanes, flushed(sums[I / Vectors][I % Vectors]));
  });
  for (std::size_t c = 0; c < used; ++c, y += plane) {
    for (std::size_t p = 0; p < count; ++p) y[p] = found[p][c];
  }
}

/// Calls `pass` with a number of places of at least `count`.
template <class Pass>
GANGLION_INLINE void for_places(std::size_t count, Pass&& pass) {
  if constexpr (most_places > 4) {
    if (count > 4) return pass.template operator()<most_places>();
  }
  pass.template operator()<(most_places < 4 ? most_places : 4)>();
}

/// One panel of `Vectors` vectors of channels at all places.
template <std::size_t Vectors>
[[gnu::noinline]] void convolve_panel(const Step& step, const float* weight, const float* bias, const float* x,
                                      std::size_t used, float* y) noexcept GANGLION_NONBLOCKING {
  const auto& plan = *static_cast<const ConvolutionPlan*>(step.extra);
  const Convolution& conv = plan.conv;
  const std::size_t plane = conv.out_height * conv.out_width;
  const std::size_t tiles = (plane + most_places - 1) / most_places;
  const float* line = x;
  std::size_t column = 0;
  for (std::size_t tile = 0, done = 0; tile < tiles; ++tile) {
    const std::size_t count = (plane - done + tiles - tile - 1) / (tiles - tile);  // as many in each, but for one
    const float* from[most_places];
    for (std::size_t p = 0; p < count; ++p) {
      from[p] = line + column * conv.stride_width;
      if (++column == conv.out_width) {
        column = 0;
        line += conv.stride_height * plan.line;
      }
    }
    for_places(count, [&]<std::size_t Places>() __attribute__((always_inline)) {
      sum_channels<Vectors, Places>(step, weight, bias, from, count, used, y + done, plane);
    });
    done += count;
  }
}

void convolve_channels(const Step& step) noexcept GANGLION_NONBLOCKING {
  static_assert(convolution_vectors == 2);
  constexpr std::size_t panel = convolution_vectors * lanes;
  const auto& plan = *static_cast<const ConvolutionPlan*>(step.extra);
  const Convolution& conv = plan.conv;
  const std::size_t out_group = conv.out_channels / conv.groups;
  const std::size_t in_group = conv.in_channels / conv.groups;
  const std::size_t padded = (out_group + lanes - 1) / lanes * lanes;
  const std::size_t panels = (out_group + panel - 1) / panel;
  const std::size_t plane = conv.out_height * conv.out_width;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* const x = laid_out(step, plan, row);
    float* const y = step.out[0].data + row * step.out[0].stride;
    for_panels(step, conv.groups * panels, [&](std::size_t number) __attribute__((always_inline)) {
      const std::size_t g = number / panels;
      const std::size_t first = number % panels * panel;
      const std::size_t used = out_group - first < panel ? out_group - first : panel;
      const float* const weight = static_cast<const float*>(step.weights) + (g * padded + first) * step.inner;
      const float* const bias = step.bias + g * padded + first;
      const float* const from = x + g * in_group * plan.channel;
      float* const to = y + (g * out_group + first) * plane;
      used > lanes ? convolve_panel<2>(step, weight, bias, from, used, to)
                   : convolve_panel<1>(step, weight, bias, from, used, to);
    });
  }
}
