// The inner loops of integer weights: plain C++, AVX-512 VNNI and AMX. All three compute the same
// exact sums; IntDotInUse takes the fastest one that the processor has and the shape allows.
#include "kernels/int_dot.h"

#include "tensor/isa.h"

#if defined(__x86_64__) && !defined(QUALM_PORTABLE)
#define QUALM_X86_DOT 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qualm {

void IntDotPortable(const int8_t* x, size_t x_stride, size_t tokens, const uint8_t* panels,
                    size_t panel_stride, size_t steps, int32_t* sums) {
  for (size_t t = 0; t < tokens; ++t) {
    // The sums of one token and one panel continue where earlier inputs left them.
    for (size_t p = 0; p < kDotPanels; ++p) {
      int32_t* to = sums + (t * kDotPanels + p) * kPanelLanes;
      for (size_t step = 0; step < steps; ++step) {
        const int8_t* in = x + t * x_stride + step * kDotStep;
        const uint8_t* w = panels + p * panel_stride + step * kPanelLanes * kDotStep;
        for (size_t row = 0; row < kPanelLanes; ++row) {
          for (size_t k = 0; k < kDotStep; ++k) to[row] += int32_t{in[k]} * w[row * kDotStep + k];
        }
      }
    }
  }
}

void UnpackHalves(const uint8_t* bytes, size_t count, uint8_t* to) {
  constexpr size_t kStepBytes = kPanelLanes * kDotStep;
  for (size_t i = 0; i < count; i += kStepBytes) {
    for (size_t b = 0; b < kStepBytes; ++b) {
      to[2 * i + b] = bytes[i + b] & 15;
      to[2 * i + kStepBytes + b] = bytes[i + b] >> 4;
    }
  }
}

#ifdef QUALM_X86_DOT

namespace {

#define QUALM_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

// One tile of T tokens and P panels: its T·P sums stay in registers over all steps.
template <int T, int P>
QUALM_VNNI void VnniTile(const int8_t* x, size_t x_stride, const uint8_t* panels,
                         size_t panel_stride, size_t steps, int32_t* sums) {
  __m512i total[T][P];
  // Load the sums: earlier chunks of inputs have been added to them.
  for (int t = 0; t < T; ++t) {
    for (int p = 0; p < P; ++p) {
      total[t][p] = _mm512_loadu_si512(sums + (t * 4 + p) * 16);
    }
  }

  for (size_t step = 0; step < steps; ++step) {
    __m512i w[P];
    for (int p = 0; p < P; ++p) {
      w[p] = _mm512_loadu_si512(panels + static_cast<size_t>(p) * panel_stride + step * 64);
    }
    for (int t = 0; t < T; ++t) {
      int32_t four = 0;
      __builtin_memcpy(&four, x + static_cast<size_t>(t) * x_stride + step * 4, 4);
      const __m512i in = _mm512_set1_epi32(four);
      // dpbusd multiplies four unsigned weights with four signed inputs of each lane and adds them
      // up.
      for (int p = 0; p < P; ++p) total[t][p] = _mm512_dpbusd_epi32(total[t][p], w[p], in);
    }
  }

  for (int t = 0; t < T; ++t) {
    for (int p = 0; p < P; ++p) _mm512_storeu_si512(sums + (t * 4 + p) * 16, total[t][p]);
  }
}

// Cuts the tokens into tiles that fill the registers, then into smaller ones for the rest.
void IntDotVnni(const int8_t* x, size_t x_stride, size_t tokens, const uint8_t* panels,
                size_t panel_stride, size_t steps, int32_t* sums) {
  size_t t = 0;
  // 8 tokens by 2 panels are 16 sums; so are 4 tokens by 4 panels.
  for (; t + 8 <= tokens; t += 8) {
    for (size_t p = 0; p < kDotPanels; p += 2) {
      VnniTile<8, 2>(x + t * x_stride, x_stride, panels + p * panel_stride, panel_stride, steps,
                     sums + (t * kDotPanels + p) * kPanelLanes);
    }
  }
  for (; t + 4 <= tokens; t += 4) {
    VnniTile<4, 4>(x + t * x_stride, x_stride, panels, panel_stride, steps,
                   sums + t * kDotPanels * kPanelLanes);
  }

  for (; t < tokens; ++t) {
    VnniTile<1, 4>(x + t * x_stride, x_stride, panels, panel_stride, steps,
                   sums + t * kDotPanels * kPanelLanes);
  }
}

#define QUALM_AMX __attribute__((target("amx-tile,amx-int8")))

// Tiles 0 to 3 hold sums of 16 tokens and 16 rows, 4 and 5 hold inputs, 6 and 7 weights. The
// weights' layout [step][16 rows][4 inputs] is the one that the instruction's second operand wants.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t columns[16] = {};
  uint8_t rows[16] = {};
};

constexpr size_t kTileSteps = 16, kTileTokens = 16;

// 32 tokens times two panels at a time, four tiles of sums; the tokens that are left go to VNNI.
QUALM_AMX void IntDotAmx(const int8_t* x, size_t x_stride, size_t tokens, const uint8_t* panels,
                         size_t panel_stride, size_t steps, int32_t* sums) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.columns[i] = 64;
    config.rows[i] = 16;
  }
  _tile_loadconfig(&config);

  constexpr int kSumStride = kDotPanels * kPanelLanes * sizeof(int32_t);
  // Two tiles of tokens by two panels: every tile that is loaded is used twice.
  const size_t whole = tokens / (2 * kTileTokens) * (2 * kTileTokens);
  for (size_t t = 0; t < whole; t += 2 * kTileTokens) {
    for (size_t p = 0; p < kDotPanels; p += 2) {
      int32_t* const a = sums + (t * kDotPanels + p) * kPanelLanes;
      int32_t* const b = a + kTileTokens * kDotPanels * kPanelLanes;

      // Load the sums that earlier chunks have left.
      _tile_loadd(0, a, kSumStride);
      _tile_loadd(1, a + kPanelLanes, kSumStride);
      _tile_loadd(2, b, kSumStride);
      _tile_loadd(3, b + kPanelLanes, kSumStride);

      for (size_t step = 0; step < steps; step += kTileSteps) {
        const int8_t* const in = x + t * x_stride + step * kDotStep;
        const uint8_t* const w = panels + p * panel_stride + step * kPanelLanes * kDotStep;
        _tile_loadd(4, in, static_cast<int>(x_stride));
        _tile_loadd(5, in + kTileTokens * x_stride, static_cast<int>(x_stride));
        _tile_loadd(6, w, 64);
        _tile_loadd(7, w + panel_stride, 64);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
      }

      _tile_stored(0, a, kSumStride);
      _tile_stored(1, a + kPanelLanes, kSumStride);
      _tile_stored(2, b, kSumStride);
      _tile_stored(3, b + kPanelLanes, kSumStride);
    }
  }

  _tile_release();
  IntDotVnni(x + whole * x_stride, x_stride, tokens - whole, panels, panel_stride, steps,
             sums + whole * kDotPanels * kPanelLanes);
}

// The instructions that VnniTile is compiled for.
bool HasVnni() {
  static const bool has =
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
  return has;
}

// Whether the processor has AMX and the system lets this process use its tiles; Linux expects a
// request first.
bool HasAmx() {
  static const bool has = [] {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl, XFEATURE_XTILEDATA
    unsigned a = 7, b = 0, c = 0, d = 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));

    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
    return (d & kTile) != 0 && (d & kInt8) != 0 && HasVnni() &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return has;
}

}  // namespace

IntDot IntDotInUse(size_t tokens, size_t steps) {
  if (IsaInUse() == Isa::kAvx512) {
    if (HasAmx() && tokens >= 2 * kTileTokens && steps % kTileSteps == 0) {
      return {IntDotAmx, "amx", 2 * kTileTokens, kTileSteps};
    }
    if (HasVnni()) return {IntDotVnni, "vnni", 1, 1};
  }
  return {IntDotPortable, "portable", 1, 1};
}

#else

IntDot IntDotInUse(size_t, size_t) { return {IntDotPortable, "portable", 1, 1}; }

#endif

}  // namespace qualm
