// For each path: which of 32 bytes are digits, a bit for each; and the value of the first `count` of 16 digits, zeros
// behind them. (AVX2 classifies 32 bytes in one step, and was no faster: docs/decisions.md.)
#ifndef SIMD_H
#define SIMD_H

#include "decimal.h"

static const uint8_t KEEP[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

#if defined(__x86_64__)
#include <immintrin.h>
#define SSE41 __attribute__((target("sse4.1")))

static inline SSE41 uint64_t sixteen_digits_sse(Text p, unsigned count) {
    const __m128i tens = _mm_set1_epi16(0x010a), hundreds = _mm_set1_epi32(0x00010064);
    const __m128i myriads = _mm_set1_epi32(0x00012710);
    __m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8('0'));
    v = _mm_and_si128(v, _mm_loadu_si128((const __m128i *)(KEEP + 16 - count)));
    v = _mm_madd_epi16(_mm_maddubs_epi16(v, tens), hundreds);
    v = _mm_madd_epi16(_mm_packus_epi32(v, v), myriads);
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(v);
    return (both & 0xffffffff) * 100000000 + (both >> 32);
}

static inline SSE41 uint32_t sixteen_bits_sse(Text p) {
    __m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8('0'));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v));
}

static inline SSE41 uint32_t digits_sse(Text p) { return sixteen_bits_sse(p) | sixteen_bits_sse(p + 16) << 16; }

#elif defined(__aarch64__)
#include <arm_neon.h>

static inline uint64_t sixteen_digits_neon(Text p, unsigned count) {
    uint8x16_t v = vandq_u8(vsubq_u8(vld1q_u8(p), vdupq_n_u8('0')), vld1q_u8(KEEP + 16 - count));
    uint16x8_t pairs = vpaddlq_u8(vmulq_u8(v, vreinterpretq_u8_u16(vdupq_n_u16(0x010a))));
    uint32x4_t fours = vpaddlq_u16(vmulq_u16(pairs, vreinterpretq_u16_u32(vdupq_n_u32(0x00010064))));
    uint64x2_t eights = vpaddlq_u32(vmulq_u32(fours, vreinterpretq_u32_u64(vdupq_n_u64(0x0000000100002710))));
    return vgetq_lane_u64(eights, 0) * 100000000 + vgetq_lane_u64(eights, 1);
}

static inline uint8x16_t bits_neon(Text p) {
    const uint8x16_t weights = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    return vandq_u8(vcleq_u8(vsubq_u8(vld1q_u8(p), vdupq_n_u8('0')), vdupq_n_u8(9)), weights);
}

static inline uint32_t digits_neon(Text p) {
    uint8x16_t sums = vpaddq_u8(bits_neon(p), bits_neon(p + 16));
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(sums, sums)), 0);
}
#endif
#endif
