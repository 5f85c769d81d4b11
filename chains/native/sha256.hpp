// SHA-256 (FIPS 180-4): by the processor's own instructions where it has them.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace strongroom {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using u128 = unsigned __int128;
static_assert(std::endian::native == std::endian::little);

alignas(16) constexpr u32 round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

inline void compress_portable(u32* state, const u8* data, u64 blocks) {
    for (; blocks--; data += 64) {
        u32 w[64], s[8];
        for (int i = 0; i < 16; i++) {
            std::memcpy(&w[i], data + 4 * i, 4);
            w[i] = __builtin_bswap32(w[i]);
        }
        for (int i = 16; i < 64; i++) {
            const u32 a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
                (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
        }
        std::memcpy(s, state, 32);
        for (int i = 0; i < 64; i++) {
            const u32 one = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constants[i] + w[i];
            const u32 two = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            std::memmove(s + 1, s, 28);
            s[4] += one, s[0] = one + two;
        }
        for (int i = 0; i < 8; i++) state[i] += s[i];
    }
}

#if defined(__x86_64__)
[[gnu::target("sha,sse4.1,ssse3")]] inline void compress_fast(u32* state, const u8* data, u64 blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    auto* words = reinterpret_cast<__m128i*>(state);
    const __m128i low = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xB1);
    const __m128i high = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xF0);
    for (; blocks--; data += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i m[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i& now = m[i & 3];
            if (i < 4) {
                now = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i);
                now = _mm_shuffle_epi8(now, swap);
            } else {
                const __m128i newest = m[(i + 3) & 3];
                const __m128i seven = _mm_alignr_epi8(newest, m[(i + 2) & 3], 4);
                now = _mm_add_epi32(_mm_sha256msg1_epu32(now, m[(i + 1) & 3]), seven);
                now = _mm_sha256msg2_epu32(now, newest);
            }
            const auto* constant = reinterpret_cast<const __m128i*>(round_constants) + i;
            const __m128i sum = _mm_add_epi32(now, _mm_load_si128(constant));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before), cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i left = _mm_shuffle_epi32(abef, 0x1B), right = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128(words, _mm_blend_epi16(left, right, 0xF0));
    _mm_storeu_si128(words + 1, _mm_alignr_epi8(right, left, 8));
}

inline bool has_instructions() {  // leaf 7, EBX bit 29; older compilers have no name for it
    u32 a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 && __builtin_cpu_supports("sse4.1");
}
inline bool is_fast = has_instructions();
inline void compress(u32* state, const u8* data, u64 blocks) {
    is_fast ? compress_fast(state, data, blocks) : compress_portable(state, data, blocks);
}
#else
inline bool is_fast = false;
inline void compress(u32* state, const u8* data, u64 blocks) {
    compress_portable(state, data, blocks);
}
#endif

class Sha256 {
    u32 state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    u8 rest_[128] = {};
    u64 size_ = 0;

  public:
    Sha256& add(const u8* data, u64 size) {
        const u64 held = size_ % 64;
        size_ += size;
        if (held) {
            const u64 taken = size < 64 - held ? size : 64 - held;
            std::memcpy(rest_ + held, data, taken);
            if (held + taken < 64) return *this;
            compress(state_, rest_, 1);
            data += taken, size -= taken;
        }
        if (size / 64) compress(state_, data, size / 64);
        std::memcpy(rest_, data + size / 64 * 64, size % 64);
        return *this;
    }
    void end(u8* out) {
        const u64 held = size_ % 64, blocks = held < 56 ? 1 : 2, bits = __builtin_bswap64(8 * size_);
        rest_[held] = 0x80;
        std::memset(rest_ + held + 1, 0, 64 * blocks - held - 1);
        std::memcpy(rest_ + 64 * blocks - 8, &bits, 8);
        compress(state_, rest_, blocks);
        for (int i = 0; i < 8; i++) {
            const u32 word = __builtin_bswap32(state_[i]);
            std::memcpy(out + 4 * i, &word, 4);
        }
    }
    void end_twice(u8* out) {
        end(out);
        Sha256().add(out, 32).end(out);
    }
};

}  // namespace strongroom
