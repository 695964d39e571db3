// JSON read without a Python object and without the GIL: a table of values, and arrays of numbers as FP32.
//
// Nothing is allocated: all memory is the caller's. A text is read once; what turned out to be no array of numbers, once
// more. Arrays and objects are not recursed into, so no depth is too much.
#include "decimal.h"
#include "simd.h"

enum { NUL = 0, FALSE = 1, TRUE = 2, STRING = 6, ESCAPED = 7, ARRAY = 8, OBJECT = 9, NUMBERS = 10 }; // and Number's kinds
enum { MOST_DIMENSIONS = 64, FEWEST = 8 }; // fewer numbers than that are values like others

enum { // beside Number's
    FULL = -1, // more values than there is room for
    EMPTY = 10,
    NO_VALUE,
    NO_ROOT,
    NO_TRUE,
    NO_FALSE,
    NO_NULL,
    NO_KEY,
    NO_COLON,
    NO_COMMA_IN_ARRAY,
    NO_COMMA_IN_OBJECT,
    TRAILING_COMMA,
    MORE_CONTENT,
    CONTROL_CHARACTER,
    BAD_ESCAPE,
    BAD_HEX,
    NO_LOW_SURROGATE,
    WRONG_LOW_SURROGATE,
    WRONG_HIGH_SURROGATE,
    BAD_UTF8,
};

// tag: the kind, and from its bit 8 on the number of an array's elements, an object's pairs, a string's bytes or a tree's
// dimensions. payload: an integer, a double's bits, where a string or a tree begins in the text, or for an array or object
// the number of the value after it. A tree (NUMBERS) has 2 + its dimensions values: the second's tag is whether a number
// is beyond FP32, and from bit 8 on where the tree ends in the text, its payload the place of the first number in `floats`;
// then each dimension, as payload.
typedef struct {
    uint64_t tag, payload;
} Value;

typedef struct {
    int64_t status; // 0, FULL, or what is wrong
    uint64_t position;
    uint64_t values, floats; // how many there are
} Result;

#define UNKNOWN UINT64_MAX
typedef struct {
    uint64_t shape[MOST_DIMENSIONS], count;
    int rank, overflow;
    Text stopped;
} Tree;

static inline Text skip_space(Text p, Text end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static Text other_number(Text p, Text end, float *result, int *overflow) {
    Number number;
    p = read_number(p, end, &number);
    if (!number.kind) return NULL;
    if (number.kind == REAL) *result = (float)as_double(number.bits);
    else *result = number.kind == UINT ? (float)number.bits : (float)(int64_t)number.bits;
    *overflow |= __builtin_isinf(*result) != 0;
    return p;
}

#define GLUE2(a, b) a##b
#define GLUE(a, b) GLUE2(a, b)

#define NAME portable
#define TARGET
#include "tree.h"
#undef NAME
#undef TARGET

#if defined(__x86_64__)
#include <cpuid.h>
#define NAME sse41
#define TARGET SSE41
#define DIGITS digits_sse
#define SIXTEEN sixteen_digits_sse
#include "tree.h"

static int best_path(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_SSE4_1;
}
#elif defined(__aarch64__)
#define NAME neon
#define TARGET
#define DIGITS digits_neon
#define SIXTEEN sixteen_digits_neon
#include "tree.h"

static int best_path(void) { return 1; }
#else
static int best_path(void) { return 0; }
#endif

// The paths that this CPU has are 0, the portable one, to this.
int zs_paths(void) { return best_path(); }

static Text read_tree(int path, Text p, Text end, float *floats, size_t room, Tree *tree) {
#if defined(__x86_64__)
    if (path >= 1) return read_tree_sse41(p, end, floats, room, tree);
#elif defined(__aarch64__)
    if (path >= 1) return read_tree_neon(p, end, floats, room, tree);
#endif
    return read_tree_portable(p, end, floats, room, tree);
}

// The length of the UTF-8 sequence at p, which is not ASCII; 0 where it is none.
static int utf8_length(Text p, Text end) {
    uint8_t c = *p;
    int length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || end - p < length) return 0;
    for (int i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0; // longer than need be, a surrogate, or beyond U+10FFFF
    return length;
}

// Four hexadecimal digits at p; -1 where they are none.
static int four_hex(Text p, Text end) {
    int value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 32, digit = is_digit(p[i]) ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

// The escape at p, a backslash. Returns what follows it; where there is none, *error is set, and the result its place.
static Text skip_escape(Text p, Text end, int *error) {
    Text begin = p++;
    if (p == end) return *error = END, p;
    if (*p != 'u') {
        if (*p == 0 || !memchr("\"\\/bfnrt", *p, 8)) return *error = BAD_ESCAPE, p;
        return p + 1;
    }
    int unit = four_hex(p + 1, end);
    if (unit < 0) return *error = end - p < 5 ? END : BAD_HEX, end - p < 5 ? end : begin;
    p += 5;
    if (unit >> 10 == 0x37) return *error = WRONG_HIGH_SURROGATE, begin;
    if (unit >> 10 != 0x36) return p;
    if (end - p < 2 || p[0] != '\\' || p[1] != 'u') return *error = NO_LOW_SURROGATE, p;
    unit = four_hex(p + 2, end);
    if (unit < 0) return *error = end - p < 6 ? END : BAD_HEX, end - p < 6 ? end : p;
    if (unit >> 10 != 0x37) return *error = WRONG_LOW_SURROGATE, p;
    return p + 6;
}

// Reads the string at p, a quote, into `value`. Returns what follows it; where it is none, *error is set.
static Text read_string(Text p, Text end, Text text, Value *value, int *error) {
    Text begin = ++p;
    int kind = STRING;
    for (;;) {
        uint64_t chunk; // eight characters that are plain ASCII are passed at once
        while (end - p >= 8) {
            memcpy(&chunk, p, 8);
            uint64_t quote = chunk ^ 0x2222222222222222u, slash = chunk ^ 0x5c5c5c5c5c5c5c5cu;
            if (((chunk | (chunk - 0x2020202020202020u) | (quote - 0x0101010101010101u) |
                  (slash - 0x0101010101010101u)) & 0x8080808080808080u) != 0)
                break;
            p += 8;
        }
        if (p == end) return *error = END, p;
        uint8_t c = *p;
        if (c == '"') break;
        if (c == '\\') {
            kind = ESCAPED;
            p = skip_escape(p, end, error);
            if (*error) return p;
        } else if (c < 0x20) {
            return *error = CONTROL_CHARACTER, p;
        } else if (c < 0x80) {
            p++;
        } else {
            int length = utf8_length(p, end);
            if (!length) return *error = BAD_UTF8, p;
            p += length;
        }
    }
    value->tag = (uint64_t)kind | (uint64_t)(p - begin) << 8;
    value->payload = (uint64_t)(begin - text);
    return p + 1;
}

static int literal(Text p, Text end, const char *word, size_t length, int wrong) {
    for (size_t i = 0; i < length; i++) {
        if (p + i == end) return END;
        if (p[i] != (uint8_t)word[i]) return wrong;
    }
    return 0;
}

// Reads the one JSON value in `length` bytes at `text`, UTF-8. No more than half as many values and floats as there are
// bytes, and one, are ever needed; with less room for values the status is FULL, with less for floats arrays of numbers
// become values. `path` as of zs_paths; -1: all numbers become values.
void zs_read(Text text, size_t length, Value *values, size_t room, float *floats, size_t float_room, int path,
             Result *result) {
    Text p = text, end = text + length, tried = text; // no array of numbers begins in front of `tried` any more
    size_t count = 0, used = 0, open = SIZE_MAX; // the array or object that p is in
    int error = 0;
    Tree tree;
#define FAIL(what, where)                                                                                              \
    do {                                                                                                               \
        error = (what);                                                                                                \
        p = (where);                                                                                                   \
        goto done;                                                                                                     \
    } while (0)

    p = skip_space(p, end);
    if (p == end) FAIL(EMPTY, text);
value:
    p = skip_space(p, end);
    if (p == end) FAIL(END, p);
    if (count == room) FAIL(FULL, p);
    if (open != SIZE_MAX) values[open].tag += 256;
    Value *value = &values[count];
    switch (*p) {
    case '[':
        if (path >= 0 && p >= tried) {
            Text next = read_tree(path, p, end, floats + used, float_room - used, &tree);
            if (next && tree.count >= FEWEST && room - count >= 2 + (size_t)tree.rank) {
                value[0] = (Value){NUMBERS | (uint64_t)tree.rank << 8, (uint64_t)(p - text)};
                value[1] = (Value){(uint64_t)tree.overflow | (uint64_t)(next - text) << 8, used};
                for (int i = 0; i < tree.rank; i++) value[2 + i] = (Value){0, tree.shape[i]};
                count += 2 + (size_t)tree.rank;
                used += tree.count;
                p = next;
                break;
            }
            tried = next ? next : tree.stopped;
        }
        // fall through
    case '{':
        *value = (Value){*p == '[' ? ARRAY : OBJECT, open};
        open = count++;
        p = skip_space(p + 1, end);
        if (p == end) FAIL(END, p);
        if (*p == (values[open].tag == ARRAY ? ']' : '}')) goto close;
        if (values[open].tag == ARRAY) goto value;
        goto key;
    case '"':
        p = read_string(p, end, text, value, &error);
        if (error) goto done;
        count++;
        break;
    case 't':
        if ((error = literal(p, end, "true", 4, NO_TRUE))) FAIL(error, error == END ? end : p);
        *value = (Value){TRUE, 0};
        count++;
        p += 4;
        break;
    case 'f':
        if ((error = literal(p, end, "false", 5, NO_FALSE))) FAIL(error, error == END ? end : p);
        *value = (Value){FALSE, 0};
        count++;
        p += 5;
        break;
    case 'n':
        if ((error = literal(p, end, "null", 4, NO_NULL))) FAIL(error, error == END ? end : p);
        *value = (Value){NUL, 0};
        count++;
        p += 4;
        break;
    default: {
        if (*p != '-' && !is_digit(*p)) FAIL(open == SIZE_MAX ? NO_ROOT : NO_VALUE, p);
        Number number;
        p = read_number(p, end, &number);
        if (!number.kind) FAIL(number.error, p);
        *value = (Value){(uint64_t)number.kind, number.bits};
        count++;
    }
    }
after:
    p = skip_space(p, end);
    if (open == SIZE_MAX) {
        if (p != end) FAIL(MORE_CONTENT, p);
        goto done;
    }
    if (p == end) FAIL(END, p);
    int kind = (int)(values[open].tag & 0xff);
    if (*p == (kind == ARRAY ? ']' : '}')) goto close;
    if (*p != ',') FAIL(kind == ARRAY ? NO_COMMA_IN_ARRAY : NO_COMMA_IN_OBJECT, p);
    Text comma = p;
    p = skip_space(p + 1, end);
    if (p == end) FAIL(END, p);
    if (*p == (kind == ARRAY ? ']' : '}')) FAIL(TRAILING_COMMA, comma);
    if (kind == ARRAY) goto value;
key:
    if (*p != '"') FAIL(NO_KEY, p);
    if (count == room) FAIL(FULL, p);
    p = read_string(p, end, text, &values[count], &error);
    if (error) goto done;
    count++;
    p = skip_space(p, end);
    if (p == end) FAIL(END, p);
    if (*p != ':') FAIL(NO_COLON, p);
    p++;
    goto value;
close: {
    size_t parent = (size_t)values[open].payload;
    values[open].payload = count;
    open = parent;
    p++;
    goto after;
}
done:
    result->status = error;
    result->position = (uint64_t)(p - text);
    result->values = count;
    result->floats = used;
}

// How many commas, colons and opening brackets there are: one stands before each value but the first.
uint64_t zs_count(Text text, size_t length) {
    uint64_t count = 0;
    for (size_t at = 0; at < length;) {
        size_t stop = length - at < 255 ? length : at + 255;
        uint8_t some = 0; // in bytes, which compilers make vectors of
        for (; at < stop; at++) some = (uint8_t)(some + ((text[at] == ',') | (text[at] == ':') | ((text[at] | 32) == '{')));
        count += some;
    }
    return count;
}

static Text to_number(Text p, Text end) {
    while (p < end && *p != '-' && !is_digit(*p)) p++;
    return p;
}

// The first number from `at` on as a value; kind 0 where there is none.
void zs_number(Text text, size_t length, size_t at, Value *value) {
    Number number;
    read_number(to_number(text + at, text + length), text + length, &number);
    *value = (Value){(uint64_t)number.kind, number.bits};
}

// Whether the number fits `type`, of `size` bytes; if so, its bits become that type's.
static int fit(Number *number, char type, int size) {
    if (type == 'd' || type == 'e') {
        double value = as_double(number->bits);
        if (number->kind != REAL) value = number->kind == UINT ? (double)number->bits : (double)(int64_t)number->bits;
        memcpy(&number->bits, &value, 8);
        return type == 'd' || __builtin_fabs(value) < 65520; // what rounds to infinity
    }
    int negative = number->kind == SINT && number->bits != 0, is_signed = type >= 'a';
    uint64_t most = type == '?' ? 1 : UINT64_MAX >> (64 - 8 * size + is_signed);
    if (number->kind == REAL || (negative && !is_signed)) return 0;
    return (negative ? ~number->bits : number->bits) <= most; // negative numbers go one further
}

// Writes the `count` numbers of the tree that begins at `at`, which zs_read has found, to `out` as a type of Python's
// struct module: one of b B h H i I q Q d, ? for 0 and 1, or e for doubles that FP16 has room for. Returns where the first
// one begins that does not fit, or `length`; *index is its place among them.
uint64_t zs_convert(Text text, size_t length, size_t at, uint64_t count, char type, uint8_t *out, uint64_t *index) {
    Text p = text + at, end = text + length;
    int size = strchr("deqQ", type) ? 8 : (type | 32) == 'i' ? 4 : (type | 32) == 'h' ? 2 : 1;
    for (*index = 0; *index < count; ++*index, out += size) {
        Text begin = p = to_number(p, end);
        Number number;
        p = read_number(p, end, &number);
        if (!number.kind || !fit(&number, type, size)) return (uint64_t)(begin - text);
        memcpy(out, &number.bits, (size_t)size);
    }
    return length;
}
