// A JSON number: its grammar, and its value as the nearest double. No locale, no hexadecimal, no infinity or NaN.
//
// The product with a 128-bit power of five decides (Lemire, "Number Parsing at a Gigabyte per Second", 2021; that it
// always does is in Mushtak and Lemire, "Fast Number Parsing Without Fallback", 2022). Only of a number with more than
// 19 digits a part is left out at first; where that part matters, big integers decide.
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stdint.h>
#include <string.h>

#include "powers.h" // POWERS_OF_FIVE[q + 342]: {high, low} 64 bits of 5^q, its highest bit set; made by build.py

typedef const uint8_t *Text;

enum { UINT = 3, SINT = 4, REAL = 5 }; // an integer from 0 to 2^64-1, one with a sign from -2^63 to 0, a double

enum { // of a number; the others are json.c's
    END = 1,
    NO_DIGIT_AFTER_MINUS,
    LEADING_ZERO,
    NO_DIGIT_AFTER_POINT,
    NO_DIGIT_AFTER_EXPONENT,
    INFINITE,
};

typedef struct {
    uint64_t bits; // an integer's value (two's complement), or the double
    int kind;      // UINT, SINT or REAL; 0: none
    int error;     // where none
} Number;

#define INFINITE_BITS 0x7ff0000000000000u

static inline int is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

static inline double as_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

// The bits of w * 10^q, rounded to the nearest double, ties to even; infinite where it is too large.
static uint64_t nearest_double(uint64_t w, int64_t q) {
    if (w == 0 || q < -342) return 0;
    if (q > 308) return INFINITE_BITS;
    int zeros = __builtin_clzll(w);
    w <<= zeros;
    const uint64_t *power = POWERS_OF_FIVE[q + 342];
    unsigned __int128 product = (unsigned __int128)w * power[0];
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1ff) == 0x1ff) {
        uint64_t more = (uint64_t)(((unsigned __int128)w * power[1]) >> 64);
        low += more;
        high += low < more;
    }
    int top = (int)(high >> 63), shift = top + 9;
    uint64_t mantissa = high >> shift; // 54 bits: one more than a double has
    int64_t exponent = ((217706 * q) >> 16) + 63 + top - zeros + 1023;
    if (exponent <= 0) { // below the smallest normal double
        if (exponent <= -63) return 0;
        mantissa >>= 1 - exponent;
        mantissa = (mantissa + (mantissa & 1)) >> 1;
        return mantissa; // 2^52 is the smallest normal one, as it is
    }
    if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << shift == high) mantissa--; // a tie
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa == 1ull << 53) {
        mantissa >>= 1;
        exponent++;
    }
    return exponent >= 0x7ff ? INFINITE_BITS : (uint64_t)exponent << 52 | (mantissa & ((1ull << 52) - 1));
}

// Natural numbers below 2^3072: 770 digits, or 5^1094 times 54 bits, and what a shift makes them as large as the other.
enum { LIMBS = 96, MOST_DIGITS = 769 };

typedef struct {
    int size;
    uint32_t limb[LIMBS];
} Big;

static void multiply_add(Big *big, uint32_t factor, uint32_t summand) {
    uint64_t carry = summand;
    for (int i = 0; i < big->size; i++) {
        carry += (uint64_t)big->limb[i] * factor;
        big->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) big->limb[big->size++] = (uint32_t)carry;
}

static void multiply_by_five_to(Big *big, int64_t power) {
    for (; power >= 13; power -= 13) multiply_add(big, 1220703125, 0);
    while (power-- > 0) multiply_add(big, 5, 0);
}

static void shift_left(Big *big, int64_t bits) {
    int limbs = (int)(bits / 32);
    if (bits % 32) multiply_add(big, 1u << bits % 32, 0);
    memmove(big->limb + limbs, big->limb, sizeof(uint32_t) * (size_t)big->size);
    memset(big->limb, 0, sizeof(uint32_t) * (size_t)limbs);
    big->size += limbs;
}

static int compare(const Big *a, const Big *b) {
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    for (int i = a->size; i-- > 0;)
        if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

// Of the double `below` and the next one, that which is nearer to the number: its digits from `p` to `end`, a point
// among them, the last one (of any) worth 10^last.
static uint64_t nearer_of_two(uint64_t below, Text p, Text end, int64_t last) {
    Big digits = {0}, middle = {0};
    int taken = 0, rest = 0;
    uint32_t chunk = 0, scale = 1;
    for (; p < end; p++) {
        if (!is_digit(*p) || (!taken && *p == '0')) continue;
        if (taken < MOST_DIGITS) {
            chunk = chunk * 10 + (*p - '0');
            scale *= 10;
            if (++taken % 9 == 0 || taken == MOST_DIGITS) {
                multiply_add(&digits, scale, chunk);
                chunk = 0;
                scale = 1;
            }
        } else { // a middle between two doubles has no digits as far behind: it only matters whether there are any
            rest |= *p != '0';
            last++;
        }
    }
    if (scale > 1) multiply_add(&digits, scale, chunk);
    if (rest) {
        multiply_add(&digits, 10, 1);
        last--;
    }
    int64_t exponent = (int64_t)(below >> 52);
    uint64_t mantissa = below & ((1ull << 52) - 1);
    if (exponent) mantissa |= 1ull << 52;
    exponent = (exponent ? exponent : 1) - 1076;
    mantissa = 2 * mantissa + 1; // the middle is mantissa * 2^exponent
    middle.size = 2;
    middle.limb[0] = (uint32_t)mantissa;
    middle.limb[1] = (uint32_t)(mantissa >> 32);
    if (!middle.limb[1]) middle.size = 1;
    if (last >= 0) multiply_by_five_to(&digits, last);
    else multiply_by_five_to(&middle, -last);
    if (last > exponent) shift_left(&digits, last - exponent);
    else shift_left(&middle, exponent - last);
    int side = compare(&digits, &middle);
    return below + (side > 0 || (side == 0 && (below & 1)));
}

// Eight digits at once: their value, or a number above 99999999 where one is none.
static inline uint64_t eight_digits(Text p) {
    uint64_t chunk;
    memcpy(&chunk, p, 8);
    uint64_t digits = chunk - 0x3030303030303030u;
    if ((digits | (chunk + 0x4646464646464646u)) & 0x8080808080808080u) return UINT64_MAX;
    digits = digits * 10 + (digits >> 8);
    return ((digits & 0x000000ff000000ffu) * 0x000f424000000064u +
            ((digits >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u) >> 32;
}

// Reads the number that begins at p, before `end`. Returns where it ends; where there is none, number->kind is 0 and
// the result is the place of the mistake.
static Text read_number(Text p, Text end, Number *number) {
    Text begin = p;
    number->kind = 0;
    int negative = p < end && *p == '-';
    p += negative;
    if (p == end || !is_digit(*p)) {
        number->error = p == end ? END : NO_DIGIT_AFTER_MINUS;
        return p;
    }
    if (*p == '0' && end - p > 1 && is_digit(p[1])) {
        number->error = LEADING_ZERO;
        return p;
    }
    Text digits = p;
    uint64_t w = 0;        // the first 19 digits, those in front of the first that is not 0 aside
    int64_t q = 0, last = 0; // w is worth w * 10^q; the last digit is worth 10^last
    int taken = 0, left_out = 0;
    for (; p < end && is_digit(*p); p++) {
        if (taken < 19) {
            w = w * 10 + (*p - '0');
            taken += w != 0;
        } else {
            q++;
            left_out |= *p != '0';
        }
    }
    int real = 0;
    if (p < end && *p == '.') {
        real = 1;
        Text point = p++;
        if (p == end || !is_digit(*p)) {
            number->error = p == end ? END : NO_DIGIT_AFTER_POINT;
            return p;
        }
        for (; w == 0 && p < end && *p == '0'; p++) q--;
        uint64_t eight;
        for (; taken <= 11 && end - p >= 8 && (eight = eight_digits(p)) < 100000000; p += 8) {
            w = w * 100000000 + eight;
            taken += 8;
            q -= 8;
        }
        for (; p < end && is_digit(*p); p++) {
            if (taken < 19) {
                w = w * 10 + (*p - '0');
                taken += w != 0;
                q--;
            } else {
                left_out |= *p != '0';
            }
        }
        last = point + 1 - p;
    }
    Text digits_end = p;
    if (p < end && (*p | 32) == 'e') {
        real = 1;
        p++;
        int minus = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        if (p == end || !is_digit(*p)) {
            number->error = p == end ? END : NO_DIGIT_AFTER_EXPONENT;
            return p;
        }
        int64_t exponent = 0;
        for (; p < end && is_digit(*p); p++)
            if (exponent < 100000000000000000) exponent = exponent * 10 + (*p - '0'); // more than any text is long
        if (minus) exponent = -exponent;
        q += exponent;
        last += exponent;
    }
    if (!real) {
        uint64_t whole = w;
        int fits = q == 0;
        if (q == 1) fits = !__builtin_mul_overflow(w, 10, &whole) && !__builtin_add_overflow(whole, p[-1] - '0', &whole);
        if (fits && (!negative || whole <= 1ull << 63)) {
            number->kind = negative ? SINT : UINT;
            number->bits = negative ? 0 - whole : whole;
            return p;
        }
    }
    uint64_t bits = nearest_double(w, q);
    if (left_out && bits != nearest_double(w + 1, q)) bits = nearer_of_two(bits, digits, digits_end, last);
    if (bits == INFINITE_BITS) {
        number->error = INFINITE;
        return begin;
    }
    number->kind = REAL;
    number->bits = bits | (uint64_t)negative << 63;
    return p;
}

#endif
